#!/bin/sh
# Lists commits between two points of a git history by kind, for release notes.
# usage: collect.sh [FROM [TO]]    (default: the newest tag before TO, and HEAD)
# Understands Conventional Commits; other subjects are sorted by their first word.
set -eu

die() {
    echo "collect.sh: $*" >&2
    exit 2
}

git rev-parse --is-inside-work-tree >/dev/null 2>&1 || die "not inside a git repository"
to=${2:-HEAD}
git rev-parse --verify --quiet "$to^{commit}" >/dev/null || die "no such commit: $to"
from=${1:-}
if [ -z "$from" ]; then
    # The newest tag that is not at TO itself.
    from=$(git describe --tags --abbrev=0 "$to^" 2>/dev/null || true)
fi
if [ -n "$from" ]; then
    git rev-parse --verify --quiet "$from^{commit}" >/dev/null || die "no such commit: $from"
    range="$from..$to"
    echo "# Commits from $from to $to"
else
    range=$to
    echo "# All commits up to $to (no tag found)"
fi

# One record a commit: hash, author, subject, body. The body may announce a break in a line of its
# own, which is no git trailer, for its key has a space.
git log --no-merges --format='%x1e%h%x09%an%x09%s%x09%b' "$range" |
    awk -F '\t' '
    BEGIN { RS = "\036" }
    function kind(subject, breaks,    word) {
        word = tolower(subject)
        if (breaks != "" || subject ~ /^[a-z]+(\([^)]*\))?!:/) return 1
        if (word ~ /cve-|vulnerab|security/) return 2
        if (word ~ /^(feat(\([^)]*\))?:|add |support |allow |introduce )/) return 3
        if (word ~ /^(fix(\([^)]*\))?:|fix |repair |correct |handle )/) return 4
        if (word ~ /^(remove |drop |deprecate )/) return 5
        if (word ~ /^(docs|test|ci|chore|style|refactor|build)(\([^)]*\))?:/) return 7
        return 6
    }
    NF < 3 { next }
    {
        breaks = ""
        lines = split($4, line, "\n")
        for (i = 1; i <= lines; i++)
            if (line[i] ~ /^BREAKING[ -]CHANGE: /) breaks = substr(line[i], 18)
        k = kind($3, breaks)
        text[k] = text[k] sprintf("- %s %s (%s)\n", $1, $3, $2)
        if (breaks != "") text[k] = text[k] "    " breaks "\n"
        commits++
    }
    END {
        split("Breaking,Security,Added,Fixed,Removed,Other,Internal", name, ",")
        for (k = 1; k <= 7; k++)
            if (text[k] != "") printf "\n## %s\n\n%s", name[k], text[k]
        if (!commits) print "\nnothing"
    }'
