#!/bin/sh
# lint.sh - what a compiler does not say: clang-tidy, cppcheck, shellcheck, mandoc, and our
# own rules (tests/lint_rules.py: options, includes, sizes, forbidden calls).
# LINT_TIDY=0 leaves clang-tidy out, which takes most of the time.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=
jobs=$(nproc)
flags="-std=gnu11 -D_GNU_SOURCE= -Ihagent -Isyncer -Imail -Ilib"

echo "rules"
/usr/bin/python3 tests/lint_rules.py || failed="$failed rules"

echo "shellcheck"
scripts=$(grep -lIE '^#!(/usr)?/bin/(ba)?sh|^#!/bin/sh' -r --exclude-dir='build*' --exclude-dir=.git .)
# shellcheck disable=SC2086 # a list of names
shellcheck $scripts || failed="$failed shellcheck"

echo "man pages"
if [ -n "$(mandoc -T lint -W warning hagent/*.[58] syncer/*.[58] mail/*.[58] 2>&1 | tee /dev/stderr)" ]; then
	failed="$failed man"
fi

# tests/cppcheck.cfg, because system headers are not read.  Left out: names that are in
# headers only by type, and functions that only threads must not use (ours do not).
echo "cppcheck"
cppcheck -q -j "$jobs" --enable=warning,portability --inline-suppr --error-exitcode=1 \
	--std=c11 --library=posix --library=tests/cppcheck.cfg --suppress=missingIncludeSystem \
	--suppress=funcArgOrderDifferent --suppress=getpwnamCalled --suppress=getgrnamCalled \
	--suppress=readdirCalled --suppress=getpwuidCalled --suppress=getgrgidCalled \
	--suppress=autoVariables --suppress=gethostbynameCalled \
	-Ihagent -Isyncer -Imail -Ilib lib hagent syncer mail || failed="$failed cppcheck"

if [ "${LINT_TIDY:-1}" = 1 ]; then
	echo "clang-tidy"
	# shellcheck disable=SC2086 # flags are a list
	printf '%s\n' lib/*.c hagent/*.c syncer/*.c mail/*.c |
		xargs -P "$jobs" -n 8 sh -c 'clang-tidy --quiet "$@" -- '"$flags"' 2>/dev/null' tidy ||
		failed="$failed clang-tidy"
fi
if [ -n "$failed" ]; then
	echo "lint: failed:$failed"
	exit 1
fi
echo "lint: clean"
