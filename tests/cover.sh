#!/bin/sh
# cover.sh DIR - lines covered per source file in a build made with --coverage.
set -eu
dir=$1
cd "$(dirname "$0")/.."
find "$dir" -name '*.gcno' -path '*/lib/*' -o -name '*.gcno' -path '*/hagent/*' \
	-o -name '*.gcno' -path '*/syncer/*' -o -name '*.gcno' -path '*/mail/*' |
	grep -v '/tests/' | while read -r note; do
	gcov -n "$note" 2>/dev/null
done | awk -F"'" '
	/^File / { file = $2 }
	/^Lines executed:/ && file ~ /^(lib|hagent|syncer|mail)\/.*\.c$/ {
		split($0, a, /[:% ]+/); lines = a[5]; hit = a[3] * lines / 100
		printf "%6.1f %% of %5d  %s\n", a[3], lines, file
		all += lines; got += hit; file = ""
	}
	END { if (all > 0) printf "%6.1f %% of %5d  in all\n", got * 100 / all, all }' | sort -k 5
