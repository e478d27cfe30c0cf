# Every call on the disk fails, or is the last of its process: some hundred thousand
# processes, the better part of an hour.  CASES=n: so many of each subject; SUBJECTS="log store".
$(O)/tests/lab/nthcall.so: tests/lab/nthcall.c tests/lab/nthcall.h
	@mkdir -p $(dir $@)
	$(CC) -std=gnu11 -O2 -g $(WARN) -shared -fPIC -o $@ $<
nth-call-programs: $(O)/tests/fault/fault $(O)/tests/lab/nthcall.so
nth-call: nth-call-programs
	LD_PRELOAD=$(abspath $(O))/tests/lab/nthcall.so $(O)/tests/fault/fault -s $(or $(SEED),1) \
	    -m $(or $(CASES),0) $(SUBJECTS)
.PHONY: nth-call nth-call-programs
