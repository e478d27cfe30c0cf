#!/bin/sh
# lint.sh - what a compiler does not say: clang-tidy, cppcheck, shellcheck, and our own
# rules (tests/lint_rules.py: options, includes, sizes, forbidden calls).
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

# The macros, because system headers are not read.  Left out: names that are in
# headers only by type, functions that only threads must not use (ours do not), and
# two checks that stumble over compound literals and out parameters; the compiler and
# clang's analyzer cover those.
echo "cppcheck"
cppcheck -q -j "$jobs" --enable=warning,portability --inline-suppr --error-exitcode=1 \
	--std=c11 --library=posix --suppress=missingIncludeSystem \
	--suppress=funcArgOrderDifferent --suppress=getpwnamCalled --suppress=getgrnamCalled \
	--suppress=readdirCalled --suppress=uninitvar --suppress=legacyUninitvar \
	--suppress=autoVariables --suppress=gethostbynameCalled \
	'-DTAILQ_HEAD(n,t)=struct n{struct t *tqh_first;}' '-DTAILQ_ENTRY(t)=struct{struct t *tqe_next;}' \
	'-DLIST_HEAD(n,t)=struct n{struct t *lh_first;}' '-DLIST_ENTRY(t)=struct{struct t *le_next;}' \
	'-DTAILQ_FOREACH(v,h,f)=for((v)=(h)->tqh_first;(v);(v)=(v)->f.tqe_next)' \
	'-DLIST_FOREACH(v,h,f)=for((v)=(h)->lh_first;(v);(v)=(v)->f.le_next)' \
	'-DTAILQ_FIRST(h)=((h)->tqh_first)' '-DTAILQ_NEXT(v,f)=((v)->f.tqe_next)' \
	'-DTAILQ_EMPTY(h)=((h)->tqh_first==0)' '-DLIST_EMPTY(h)=((h)->lh_first==0)' \
	'-DLIST_FIRST(h)=((h)->lh_first)' '-DLIST_NEXT(v,f)=((v)->f.le_next)' \
	'-Djson_array_foreach(a,i,v)=for(i=0;(v=json_array_get(a,i));i++)' \
	'-Djson_object_foreach(o,k,v)=for(k=json_key(o,&v);k;k=json_key(o,&v))' \
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
