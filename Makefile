# mailpair: one Makefile.  "make O=dir" builds in dir; SAN=1 with ASan and UBSan;
# WERROR=1 as in CI.  HOOKS=1 compiles the planned mistakes of tests/fault in.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
LOCALSTATEDIR ?= /var
RUNSTATEDIR ?= /run
O ?= build

CC ?= gcc
CFLAGS ?= -O2 -g
WARN = -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE= $(CFLAGS) $(WARN) -fPIE -fstack-protector-strong -pthread \
	-DPATH_ETC='"$(SYSCONFDIR)/mailpair"' -DPATH_VAR='"$(LOCALSTATEDIR)/lib/mailpair"' \
	-DPATH_RUN='"$(RUNSTATEDIR)/mailpair"' -DPATH_LIB='"$(PREFIX)/lib/mailpair"'
ALL_LDFLAGS = $(LDFLAGS) -pie -Wl,-z,relro,-z,now -pthread
ifeq ($(SAN),1)
ALL_CFLAGS += -DMAILPAIR_SAN=1 -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
ALL_LDFLAGS += -fsanitize=address,undefined
else
ALL_CFLAGS += -D_FORTIFY_SOURCE=2
endif
ifeq ($(WERROR),1)
ALL_CFLAGS += -Werror
endif
ifeq ($(HOOKS),1)
ALL_CFLAGS += -DMAILPAIR_HOOKS
endif

MAINS = hagent/hagentd.c hagent/hactl.c syncer/syncd.c mail/maild.c mail/mailctl.c
LIBS_lib = -levent_openssl -levent -levent_pthreads -lssl -lcrypto -lconfuse -ljansson -lseccomp
LIBS_hagent = $(LIBS_lib)
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
$(O)/%.o: %.c
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) $(INC) -MMD -MP -c -o $@ $<

$(O)/hagentd: $(O)/hagent/hagentd.o $(O)/libhagent.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_hagent)
$(O)/hactl: $(O)/hagent/hactl.o $(O)/libhagent.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_hagent)
$(O)/syncd: $(O)/syncer/syncd.o $(O)/libsyncer.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_syncer)
$(O)/maild: $(O)/mail/maild.o $(O)/libmail.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_mail)
$(O)/mailctl: $(O)/mail/mailctl.o $(O)/libmail.a $(O)/libmailpair.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_mail)

# Unit tests: tests/unit/COMPONENT/test_x.c, one program each.
UNIT = $(patsubst %.c,$(O)/%,$(wildcard tests/unit/*/test_*.c))
$(O)/tests/unit/lib/%: tests/unit/lib/%.c $(O)/libmailpair.a
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) -Ilib -MMD -MP $(ALL_LDFLAGS) -o $@ $(filter %.c %.a,$^) -lcmocka $(LIBS_lib)
define unit_rule
$$(O)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $$(O)/lib$(1).a $$(O)/libmailpair.a
	@mkdir -p $$(dir $$@)
	$$(CC) $$(ALL_CFLAGS) -I$(1) -Ilib -MMD -MP $$(ALL_LDFLAGS) -o $$@ $$(filter %.c %.a,$$^) -lcmocka $$(LIBS_$(1))
endef
$(foreach c,hagent syncer mail,$(eval $(call unit_rule,$(c))))
unit: $(UNIT)

clean:
	rm -rf $(O)

.PHONY: all unit clean
.SECONDARY:
-include $(shell find $(O) -name '*.d' 2>/dev/null)
