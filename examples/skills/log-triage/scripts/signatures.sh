#!/bin/sh
# Groups log lines that differ only in variable parts, the most severe and frequent first.
# usage: signatures.sh [-n COUNT] [FILE ...]    (default: 40 signatures, standard input)
set -eu

count=40
while getopts n: option; do
    case $option in
    n) count=$OPTARG ;;
    *) echo "usage: signatures.sh [-n COUNT] [FILE ...]" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
case $count in
'' | *[!0-9]*) echo "signatures.sh: -n takes a number" >&2; exit 2 ;;
esac
for file in "$@"; do
    [ -r "$file" ] || { echo "signatures.sh: cannot read $file" >&2; exit 2; }
done

echo " count   first    last  level  signature"
cat -- "$@" | awk '
    {
        line = $0
        gsub(/\033\[[0-9;]*m/, "", line)
        lower = tolower(line)
        level = "-"; rank = 4
        if (lower ~ /panic|fatal|critical|segfault|out of memory|oom-?kill/) { level = "FATAL"; rank = 1 }
        else if (lower ~ /error|exception|traceback|failed|failure|refused|denied/) { level = "ERROR"; rank = 2 }
        else if (lower ~ /warn|timeout|timed out|retry/) { level = "WARN"; rank = 3 }
        gsub(/[0-9]+-[0-9]+-[0-9]+[T ][0-9:.,]+(Z|[+-][0-9:]+)?/, "<time>", line)
        gsub(/[0-9a-fA-F]+-[0-9a-fA-F]+-[0-9a-fA-F]+-[0-9a-fA-F]+-[0-9a-fA-F]+/, "<uuid>", line)
        gsub(/(sha256:|0x)[0-9a-fA-F]+/, "<hex>", line)
        gsub(/[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(:[0-9]+)?/, "<address>", line)
        gsub(/[0-9]+/, "<n>", line)
        if (line ~ /^[ \t]*$/) next
        line = substr(line, 1, 160)
        if (!(line in seen)) { first[line] = NR; levels[line] = level; ranks[line] = rank }
        seen[line]++
        last[line] = NR
    }
    END {
        for (line in seen)
            printf "%d\t%6d %7d %7d  %-5s  %s\n", ranks[line], seen[line], first[line], last[line], levels[line], line
    }' | sort -t '	' -k1,1n -k2,2nr | cut -f2- | sed -n "1,${count}p"
