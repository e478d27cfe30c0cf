# mailpair: one Makefile.  "make O=dir" builds in dir; SAN=1 with ASan and UBSan;
# WERROR=1 as in CI.  HOOKS=1 compiles the planned mistakes of tests/fault in.
# Targets: all check check-e2e table fuzz lint format cover install deps dist rpm demo sim campaign nth-call bitflips clean.
# PREFIX, SYSCONFDIR, LOCALSTATEDIR and RUNSTATEDIR are compiled in: give "make" and
# "make install" the same ones.  A changed flag rebuilds what it touches.
VERSION = 1.0.0
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
LOCALSTATEDIR ?= /var
RUNSTATEDIR ?= /run
O ?= build

CC ?= gcc
CFLAGS ?= -O2 -g
WARN = -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE= $(CFLAGS) $(WARN) -fPIE -fstack-protector-strong -pthread \
	-DMAILPAIR_VERSION='"$(VERSION)"' -DPATH_ETC='"$(SYSCONFDIR)/mailpair"' -DPATH_VAR='"$(LOCALSTATEDIR)/lib/mailpair"' \
	-DPATH_RUN='"$(RUNSTATEDIR)/mailpair"' -DPATH_LIB='"$(PREFIX)/lib/mailpair"'
ALL_LDFLAGS = $(LDFLAGS) -pie -Wl,-z,relro,-z,now -pthread
ifeq ($(SAN),1)
ALL_CFLAGS += -DMAILPAIR_SAN=1 -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
ALL_LDFLAGS += -fsanitize=address,undefined
else
ALL_CFLAGS += -D_FORTIFY_SOURCE=2
endif
ifeq ($(HOOKS),1)
ALL_CFLAGS += -DMAILPAIR_HOOKS
endif
FLAGS := $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
ifeq ($(WERROR),1)
ALL_CFLAGS += -Werror
endif

MAINS = hagent/hagentd.c hagent/hactl.c syncer/syncd.c mail/maild.c mail/mailctl.c
LIBS_lib = -levent_openssl -levent -levent_pthreads -lssl -lcrypto -lconfuse -ljansson -lseccomp
LIBS_hagent = -lcpg -lquorum -lvotequorum -lcmap -lcorosync_common -lexpat $(LIBS_lib)
LIBS_syncer = -lrsync -lzstd $(LIBS_lib)
LIBS_mail = -lsqlite3 -lunbound -lcrypt $(LIBS_lib)

src = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(O)/%.o,$(call src,$(1)))

all: $(O)/hagentd $(O)/hactl $(O)/syncd $(O)/maild $(O)/mailctl

$(O)/libmailpair.a: $(call obj,lib)
$(O)/libhagent.a: $(call obj,hagent)
$(O)/libsyncer.a: $(call obj,syncer)
$(O)/libmail.a: $(call obj,mail)
$(O)/%.a:
	@rm -f $@
	$(AR) rcs $@ $^

# The folders never include each other's headers: own folder and lib only.
$(O)/lib/%.o: INC = -Ilib
$(O)/hagent/%.o: INC = -Ihagent -Ilib
$(O)/syncer/%.o: INC = -Isyncer -Ilib
$(O)/mail/%.o: INC = -Imail -Ilib
$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) $(INC) -MMD -MP -c -o $@ $<

$(O)/hagentd: $(O)/hagent/hagentd.o $(O)/libhagent.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_hagent)
$(O)/hactl: $(O)/hagent/hactl.o $(O)/libhagent.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_lib)
$(O)/syncd: $(O)/syncer/syncd.o $(O)/libsyncer.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_syncer)
$(O)/maild: $(O)/mail/maild.o $(O)/libmail.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_mail)
$(O)/mailctl: $(O)/mail/mailctl.o $(O)/libmail.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_mail)

# Holds the flags of the last build; newer than the objects when they have changed.
quote = '$(subst ','\'',$(1))'
$(O)/flags: FORCE
	@mkdir -p $(O) && printf '%s\n' $(call quote,$(FLAGS)) >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# Tests.  tests/unit/COMPONENT/test_x.c: one program each, with that component only.
# tests/{policy,transcript,sim,fault}/*.c: one program a folder, O/tests/DIR/DIR, and
# tests/fuzz/fuzz_x.c: one program each; these may use every component.
TEST_CC = $(CC) $(ALL_CFLAGS) -MMD -MP -MT $@ $(ALL_LDFLAGS) -o $@ $(filter %.c %.a,$^)
UNIT = $(patsubst %.c,$(O)/%,$(wildcard tests/unit/*/test_*.c))
$(O)/tests/unit/lib/%: tests/unit/lib/%.c $(O)/libmailpair.a
	@mkdir -p $(dir $@)
	$(TEST_CC) -Ilib -Itests/unit/lib -lcmocka $(LIBS_lib)
define unit_rule
$$(O)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $$(O)/lib$(1).a $$(O)/libmailpair.a
	@mkdir -p $$(dir $$@)
	$$(TEST_CC) -I$(1) -Ilib -Itests/unit/$(1) -lcmocka $$(LIBS_$(1))
endef
$(foreach c,hagent syncer mail,$(eval $(call unit_rule,$(c))))

ARCHIVES = $(O)/libhagent.a $(O)/libsyncer.a $(O)/libmail.a $(O)/libmailpair.a
ALL_INC = -Ihagent -Isyncer -Imail -Ilib
ALL_LIBS = -lcmocka -lexpat -lrsync -lzstd $(LIBS_mail)
define suite_rule
$$(O)/tests/$(1)/$(1): $$(wildcard tests/$(1)/*.c) $$(ARCHIVES)
	@mkdir -p $$(dir $$@)
	$$(TEST_CC) $$(ALL_INC) -Itests/$(1) $$(ALL_LIBS)
endef
SUITES = policy transcript sim fault
$(foreach c,$(SUITES),$(eval $(call suite_rule,$(c))))
PROGRAMS = $(foreach c,$(SUITES),$(if $(wildcard tests/$(c)/*.c),$(O)/tests/$(c)/$(c)))
FUZZ = $(patsubst %.c,$(O)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(O)/tests/fuzz/%: tests/fuzz/%.c $(ARCHIVES)
	@mkdir -p $(dir $@)
	$(TEST_CC) $(ALL_INC) $(ALL_LIBS)

unit: $(UNIT)
test-programs: $(UNIT) $(PROGRAMS)
# The planned mistakes have a build of their own, without sanitizers.
SUITES_FAST = unit policy transcript sim cases $(if $(filter 1,$(SAN)),,fault)
check: all test-programs
	O=$(O) SAN=$(SAN) tests/run $(SUITES_FAST)
check-e2e: all
	O=$(O) SAN=$(SAN) tests/run e2e
# What happens in each failure: expected and seen, row by row.
table: all
	O=$(O) tests/e2e/run table_
sim: $(O)/tests/sim/sim
	O=$(O) N=$(N) SEED=$(or $(SEED),$(shell date +%y%m%d)000000) tests/sim/run
# Random faults on real pairs under load, counted from outside: N schedules, JOBS pairs at a time.
campaign: all
	O=$(O) N="$(N)" SEED="$(SEED)" JOBS="$(JOBS)" ACKS="$(ACKS)" LOGS="$(LOGS)" \
	    tests/campaign/campaign.py
demo:
	MAIL="$(MAIL)" KEEP="$(KEEP)" O=$(O) sh demo.sh

# Coverage guided, FUZZ_S seconds a parser; needs clang.  New finds land in the
# folder tests/cases/NAME beside the known ones.
FUZZ_S ?= 60
fuzz:
	$(MAKE) O=$(O)-fuzz CC=clang CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined" \
	    LDFLAGS="-fsanitize=address,undefined" fuzz-programs
	tests/fuzz.sh $(O)-fuzz $(FUZZ_S)
fuzz-programs: ALL_LDFLAGS += -fsanitize=fuzzer
fuzz-programs: $(FUZZ)

# Lines covered by everything but the end-to-end tests.
cover:
	$(MAKE) O=$(O)-cover CFLAGS="-Og -g --coverage" LDFLAGS=--coverage all test-programs
	O=$(O)-cover tests/run unit policy transcript sim
	tests/cover.sh $(O)-cover

C_FILES = $(wildcard lib/*.[ch] hagent/*.[ch] syncer/*.[ch] mail/*.[ch] tests/*/*.[ch] tests/unit/*/*.[ch])
lint:
	tests/lint.sh
format:
	clang-format -i $(C_FILES)

# Existing configuration is never touched; users are made on a live system only.
sbin = $(DESTDIR)$(PREFIX)/sbin
share = $(DESTDIR)$(PREFIX)/share
private = $(DESTDIR)$(PREFIX)/lib/mailpair
units = $(DESTDIR)$(PREFIX)/lib/systemd/system
etc = $(DESTDIR)$(SYSCONFDIR)
at_paths = sed -e 's|@SBIN@|$(PREFIX)/sbin|g' -e 's|@RUN@|$(RUNSTATEDIR)/mailpair|g' \
	-e 's|@VAR@|$(LOCALSTATEDIR)/lib/mailpair|g' -e 's|@ETC@|$(SYSCONFDIR)/mailpair|g'
# The shipped files name the default folders.
conf_paths = sed -e 's|\([ "]\)/usr/local/lib/mailpair|\1$(PREFIX)/lib/mailpair|g' \
	-e 's|\([ "]\)/etc/mailpair|\1$(SYSCONFDIR)/mailpair|g' \
	-e 's|\([ "]\)/run/mailpair|\1$(RUNSTATEDIR)/mailpair|g' \
	-e 's|\([ "]\)/var/lib/mailpair|\1$(LOCALSTATEDIR)/lib/mailpair|g'
install: all
	install -d $(sbin) $(private)/resource.d $(units) $(etc)/mailpair/tls $(etc)/init.d \
	    $(DESTDIR)$(PREFIX)/lib/sysusers.d $(share)/man/man5 $(share)/man/man8
	install -m 755 $(O)/hagentd $(O)/hactl $(O)/syncd $(O)/maild $(O)/mailctl $(sbin)
	set -e; for f in $(wildcard resource.d/*); do case $$f in \
	    *.md) install -m 644 $$f $(private)/resource.d ;; \
	    *) install -m 755 $$f $(private)/resource.d ;; esac; done
	install -m 755 etc/make-users.sh $(private)/make-users
	set -e; for f in $(wildcard etc/*.conf); do to=$(etc)/mailpair/$${f##*/}; \
	    if [ -e $$to ]; then echo "kept $$to"; else $(conf_paths) $$f >$$to; chmod 644 $$to; fi; done
	install -d $(private)/etc
	set -e; for f in $(wildcard etc/*.conf); do $(conf_paths) $$f >$(private)/etc/$${f##*/}; \
	    chmod 644 $(private)/etc/$${f##*/}; done
	set -e; for f in $(wildcard hagent/*.[58] syncer/*.[58] mail/*.[58]); do \
	    install -m 644 $$f $(share)/man/man$${f##*.}; done
	install -m 644 etc/mailpair.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/mailpair.conf
	install -d $(share)/bash-completion/completions
	set -e; for f in hactl mailctl; do to=$(share)/bash-completion/completions/$$f; \
	    $(conf_paths) etc/completion/mailpair.bash >$$to; chmod 644 $$to; done
	set -e; for d in hagentd syncd maild; do \
	    $(at_paths) etc/$$d.service >$(units)/$$d.service; chmod 644 $(units)/$$d.service; \
	    $(at_paths) etc/init.d/$$d >$(etc)/init.d/$$d; chmod 755 $(etc)/init.d/$$d; done
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then sh etc/make-users.sh; fi

# "+": also with -n, where it only says what it would install.
deps:
	+@sh deps.sh $(if $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),-n)

DIST = mailpair-$(VERSION)
dist:
	@mkdir -p $(O)
	tar --exclude-vcs --exclude='./build*' --exclude='./$(O)' --exclude='__pycache__' \
	    --transform='s|^\.|$(DIST)|' -czf $(O)/$(DIST).tar.gz .
# --nodeps: on Debian the packages that the spec names by their RPM names are there,
# but the RPM database does not know them.
rpm: dist
	@mkdir -p $(O)/rpm/SOURCES
	cp $(O)/$(DIST).tar.gz $(O)/rpm/SOURCES
	rpmbuild -bb --nodeps --define '_topdir $(abspath $(O))/rpm' \
	    --define 'mailpair_version $(VERSION)' rpm/mailpair.spec
	@find $(O)/rpm/RPMS -name '*.rpm'

clean:
	rm -rf $(O)

.PHONY: all unit test-programs check check-e2e table campaign fuzz fuzz-programs lint format cover install \
	deps dist rpm demo sim clean FORCE
.SECONDARY:
-include $(wildcard tests/*/rules.mk)
-include $(shell find $(O) -path $(O)/rpm -prune -o -type f -name '*.d' -print 2>/dev/null)
