#!/bin/sh
# Summarises the change between a base and the working tree of a git repository.
# usage: summary.sh [BASE]    (default: origin/main, main or master, whichever exists)
set -eu

die() {
    echo "summary.sh: $*" >&2
    exit 2
}

git rev-parse --is-inside-work-tree >/dev/null 2>&1 || die "not inside a git repository"

base=${1:-}
if [ -z "$base" ]; then
    for candidate in origin/main main origin/master master; do
        if git rev-parse --verify --quiet "$candidate^{commit}" >/dev/null; then
            base=$candidate
            break
        fi
    done
fi
[ -n "$base" ] || die "no base branch found; name one: summary.sh BASE"
fork=$(git merge-base "$base" HEAD 2>/dev/null) || die "$base has no history in common with HEAD"

echo "Changes since $base ($(git rev-parse --short "$fork")):"
git diff --shortstat "$fork"
echo
echo "By directory (lines added, removed):"
git diff --numstat "$fork" | awk -F '\t' '
    { split($3, part, "/"); area = ($3 ~ "/") ? part[1] : "."
      added[area] += $1; removed[area] += $2 }
    END { for (area in added) printf "  %6d %6d  %s\n", added[area], removed[area], area }
' | sort -rn
echo

names=$(git diff --name-only "$fork")
tests=$(printf '%s\n' "$names" | grep -Eci '(^|/)(tests?|spec)(/|\.|_)|[._]test\.' || true)
echo "Test files changed: $tests"
echo
echo "Lines to look at twice:"
git diff --unified=0 "$fork" | awk '
    /^\+\+\+ / { file = substr($0, 7); next }
    /^@@/ { split($3, at, ","); line = substr(at[1], 2) - 1; next }
    /^\+/ {
        line++
        text = tolower($0)
        why = ""
        if ($0 ~ /^\+(<<<<<<<|=======|>>>>>>>)( |$)/) why = "conflict marker"
        else if (text ~ /todo|fixme|xxx/) why = "left to do"
        else if (text ~ /console\.log|dbg!|pdb\.set_trace|debugger;/) why = "debugging"
        else if (text ~ /(password|secret|api_?key|token)["'"'"']?[ ]*[:=]/) why = "secret?"
        if (why != "") { printf "  %s:%d  %s\n", file, line, why; found = 1 }
    }
    END { if (!found) print "  none" }
'
