#!/bin/sh
# Copies categories of container images from a Portolan tree to this mirror, and tells the registry when it is done.
# Needs a POSIX shell, rsync 3, curl, and flock (of util-linux). `portolan-sync.sh --help` says how it is used.
#
# What it promises, killed at any moment: `zz/serial` on this mirror never names an inventory of which a file is
# missing. So first the inventory is fetched, to a place beside the categories; then every file that it lists; then
# inventory and serial go to their place; then come tags and lists, and what is not in the tree any more goes.

set -u
umask 022
export LC_ALL=C

# Waits and sizes. Seconds, attempts, bytes.
ASK_TIMEOUT=30
STALL_TIMEOUT=600
CONNECT_TIMEOUT=60
ATTEMPTS=3
ATTEMPT_PAUSE=5
LOG_LIMIT=5000000

config=/etc/portolan-sync.conf
dry_run=no
force=no

usage() {
    cat <<'END'
usage: portolan-sync.sh [--config FILE] [--dry-run] [--force]

Copies categories from an rsync server to this mirror, if the registry says that there is something new, and tells the
registry that it has come. Run it every few minutes, from cron or a timer: nothing new costs one small request.

  --config FILE  the settings (default: /etc/portolan-sync.conf)
  --dry-run      tell what would be copied and removed; change nothing
  --force        copy even if nothing is new: after files of this mirror were lost
  --help         this text

The settings are lines KEY=VALUE. They are read, not executed; values need no quotes. `#` begins a line of comment.

  source=rsync://rsync.example.org/pub   where the folders of the categories are
  destination=/var/www/html              where they are to be; each category is a folder in it
  categories=containers fedora           which; separated by spaces
  registry=https://registry.example.org  which tells the newest serials, and takes the report
  host=mirror.example.org                this mirror's name at the registry; without it nothing is reported
  token_file=/etc/portolan-sync.token    a file with the token that the operators gave you, readable by you only
  private=no                             yes: the crawler cannot reach this host; the registry believes its reports
  bandwidth=20m                          at most so many bytes a second, as rsync's --bwlimit
  log=/var/log/portolan-sync.log         one line an event; errors go to standard error, too

exit code 0: nothing is new, or all is copied and reported
          1: the copy failed, or the settings are wrong; run it again, what has come is kept
          2: wrong arguments
          3: all is copied, but the report was not taken
          4: another run is at work
END
}

say() {
    line="$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"
    if [ -n "${log:-}" ]; then
        printf '%s\n' "$line" >>"$log" || printf '%s\n' "$line" >&2
    else
        printf '%s\n' "$line"
    fi
}

complain() {
    printf 'portolan-sync: %s\n' "$*" >&2
    if [ -n "${log:-}" ]; then say "$@"; fi
}

fail() {
    complain "$@"
    exit 1
}

# The value of a setting without blanks around it.
trim() {
    trimmed=$1
    trimmed=${trimmed#"${trimmed%%[! 	]*}"}
    trimmed=${trimmed%"${trimmed##*[! 	]}"}
    printf '%s' "$trimmed"
}

read_config() {
    source='' destination='' categories='' registry='' host='' token_file='' private=no bandwidth='' log=''
    [ -r "$config" ] || fail "$config cannot be read; \`portolan-sync.sh --help\` tells what stands in it"
    number=0
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        line=$(trim "$line")
        case $line in
            '' | '#'*) continue ;;
            *=*) ;;
            *) fail "$config, line $number: a line is KEY=VALUE" ;;
        esac
        key=$(trim "${line%%=*}")
        value=$(trim "${line#*=}")
        case $key in
            source) source=${value%/} ;;
            destination) destination=${value%/} ;;
            categories) categories=$value ;;
            registry) registry=${value%/} ;;
            host) host=$value ;;
            token_file) token_file=$value ;;
            private) private=$value ;;
            bandwidth) bandwidth=$value ;;
            log) log=$value ;;
            *) fail "$config, line $number: there is no setting \`$key\`" ;;
        esac
    done <"$config"
}

# Is it made of these characters only, and not empty?
is_made_of() {
    case $2 in
        '' | *[!$1]*) return 1 ;;
    esac
}

check_config() {
    [ -n "$source" ] || fail "$config: source is missing, as source=rsync://rsync.example.org/pub"
    case $source in
        -* | *[!]A-Za-z0-9.:/_@[~+-]*) fail "$config: source: \`$source\` is no place that rsync knows" ;;
    esac
    case $destination in
        /?*) ;;
        *) fail "$config: destination must be a path from the root, as destination=/var/www/html" ;;
    esac
    [ -d "$destination" ] || fail "$destination is no folder: make it, or mount it"
    [ -w "$destination" ] || fail "$destination: $(id -un) may not write there"
    [ -n "$categories" ] || fail "$config: categories is missing, as categories=containers"
    set -f
    for category in $categories; do
        is_made_of 'A-Za-z0-9._-' "$category" || fail "$config: categories: \`$category\` is no category's name"
        case $category in
            .* | -*) fail "$config: categories: \`$category\` is no category's name" ;;
        esac
    done
    case $registry in
        https://?* | http://?*) ;;
        *) fail "$config: registry must be a URL, as registry=https://registry.example.org" ;;
    esac
    case $registry$host in
        *[!]A-Za-z0-9.:/_[~-]*) fail "$config: registry or host has a character that does not belong there" ;;
    esac
    case $private in
        yes | no) ;;
        *) fail "$config: private is yes or no" ;;
    esac
    case $bandwidth in
        '') ;;
        *[!0-9kKmMgG.]* | [!0-9]*) fail "$config: bandwidth: \`$bandwidth\` is none, as 20m or 500k" ;;
    esac
    if [ -n "$host" ] && [ -z "$token_file" ]; then
        fail "$config: host needs token_file; \`portolan host token create $host\` at the operators makes a token"
    fi
    for program in rsync curl flock; do
        command -v "$program" >/dev/null || fail "$program is not installed"
    done
}

# The log does not grow without end: one former log is kept.
turn_log() {
    [ -n "$log" ] || return 0
    touch "$log" 2>/dev/null || { log='' && fail "log: the file of $config cannot be written"; }
    size=$(wc -c <"$log")
    [ "$size" -lt "$LOG_LIMIT" ] || mv -f "$log" "$log.1"
}

# Only one run at a time. rsync inherits the lock, so it holds as long as one that was left behind is at work.
take_lock() {
    work=$destination/.portolan-sync
    mkdir -p "$work/new" || fail "$work cannot be made"
    touch "$work/lock" || fail "$work/lock cannot be written"
    exec 9>>"$work/lock"
    flock -n 9 && return 0
    # Beside a long copy this is as it should be: no mail of cron.
    held="another run is at work on $destination ($work/lock is locked); this one ends"
    if [ -t 2 ]; then complain "$held"; else say "$held"; fi
    exit 4
}

# The serial of a category in a folder; 0 if there is none.
serial_in() {
    serial=0 hash=''
    [ ! -r "$1/zz/serial" ] || read -r serial hash <"$1/zz/serial" || :
    is_made_of 0-9 "$serial" || serial=0
}

# Asks once for the serials of all categories. 0: something is new; 1: nothing is.
is_new() {
    tag='' query=''
    for category in $categories; do
        serial_in "$destination/$category"
        tag=$tag${tag:+-}$serial
        query=$query${query:+&}category=$category
    done
    # What was begun has to be ended, whatever the serials say.
    if [ -e "$work/unfinished" ] || [ "$force" = yes ]; then
        changed=$categories
        return 0
    fi
    changed=''
    ask -H "If-None-Match: \"$tag\"" "$registry/api/v1/serials?$query"
    case $status in
        304) return 1 ;;
        200) return 0 ;;
    esac
    case $answer in
        'there is no category '*) fail "$registry: $answer; see categories in $config" ;;
    esac
    complain "$registry does not tell the newest serials ($answer); copying to be sure"
}

# One request to the registry: its status in $status, and the reason in $answer if it was refused.
ask() {
    answer=$(curl -gsS --max-time "$ASK_TIMEOUT" -w '\n%{http_code}' -A portolan-sync "$@" 2>&1)
    status=$(printf '%s\n' "$answer" | tail -n 1)
    reason=$(printf '%s\n' "$answer" | sed -n -e 's/^curl: ([0-9]*) //p' -e 's/.*"error":"\([^"]*\)".*/\1/p' | head -n 1)
    answer=${reason:-status $status}
}

# rsync with all that is common to its runs. What it says is in $output.
copy() {
    set -- -H --timeout="$STALL_TIMEOUT" "$@"
    [ -z "$bandwidth" ] || set -- --bwlimit="$bandwidth" "$@"
    case $source in
        rsync://*) set -- --contimeout="$CONNECT_TIMEOUT" "$@" ;;
    esac
    output=$(rsync "$@" 2>&1)
}

# What rsync's exit code means, and what to do.
explain() {
    code=$1
    case $code in
        5) hint="the rsync server refused: is source right, and may this host come?" ;;
        10 | 35) hint="no connection to $source" ;;
        11) hint="reading or writing a file failed; if the disk is full, $(df -P "$destination" |
            awk 'NR == 2 { print $4 " KiB are free of " $2 }')" ;;
        12 | 30) hint="the connection broke or stood still" ;;
        20) hint="it was interrupted" ;;
        23 | 24) hint="not all could be copied: is every category at source?" ;;
        *) hint="rsync ended with $code" ;;
    esac
    printf '%s' "$hint. rsync says: $(printf '%s\n' "$output" | grep -v '^rsync error:' | grep '^[@r]' | head -n 2 | tr '\n' ' ')"
}

# Fetches serial and inventory of all categories to $work/new, until they belong together: an export may be under way.
fetch_inventories() {
    find "$work/new" -type f -name '.*' -exec rm -f {} + # of an rsync that was killed
    attempt=1
    while :; do
        # By content: two serials may be of one second.
        list_inventories >"$work/list" || fail "$work/list cannot be written: is the disk full?"
        copy -tI --files-from="$work/list" "$source/" "$work/new/" ||
            fail "the inventories could not be fetched: $(explain $?)"
        are_whole && return 0
        [ "$attempt" -lt "$ATTEMPTS" ] || fail "$source: the inventory of $category is not that of its serial;" \
            "an export is under way or was stopped. Run this again later"
        attempt=$((attempt + 1))
        sleep "$ATTEMPT_PAUSE"
    done
}

list_inventories() {
    for category in $categories; do
        printf '%s\n' "$category/zz/serial" "$category/zz/inventory" || return
    done
}

# Is each inventory the one of its serial?
are_whole() {
    for category in $categories; do
        serial_in "$work/new/$category"
        [ "$(sed -n '3s/^# serial //p' "$work/new/$category/zz/inventory")" = "$serial" ] || return 1
    done
}

# The paths of all files that the inventories list; nothing else can come out of them.
list_files() {
    for category in $categories; do
        sed -n -e '/^#/d' -e "s,^\([0-9a-f][0-9a-f]\)\([0-9a-f]\{62\}\) .*,$category/blobs/sha256/\1/\1\2,p" \
            "$work/new/$category/zz/inventory" || return
    done
}

# Fetches all that the inventories list. That rsync does it without complaint proves that it is here.
fetch_files() {
    list_files >"$work/list" || fail "$work/list cannot be written: is the disk full?"
    # What is interrupted goes on where it was: in a folder of its own, under its own name only when it is whole.
    copy -t --partial-dir="$work/partial" --files-from="$work/list" --stats "$source/" "$destination/" ||
        fail "the files could not be copied: $(explain $?)"
    copied=$(printf '%s\n' "$output" | sed -n 's/^Total transferred file size: //p')
}

# Puts new inventories and serials in their place. The serial, which names the inventory, is the last.
install_inventories() {
    sync
    for category in $categories; do
        mkdir -p "$destination/$category/zz" || fail "$destination/$category/zz cannot be made"
        for name in inventory serial; do
            cmp -s "$work/new/$category/zz/$name" "$destination/$category/zz/$name" && continue
            replace "$work/new/$category/zz/$name" "$destination/$category/zz/$name"
            changed="$changed $category"
        done
    done
}

# Copies a small file whole or not at all.
replace() {
    cp -p "$1" "$work/copy" || fail "$2 cannot be written"
    mv -f "$work/copy" "$2" || fail "$2 cannot be written"
}

# All the rest, and away with what is not in the tree any more. `zz` is in its place already.
copy_rest() {
    set -- -rpt --exclude='/*/zz' --delete-delay "$@"
    for category in $categories; do
        set -- "$@" "$source/$category"
    done
    copy "$@" "$destination/"
}

synchronize() {
    touch "$work/unfinished" || fail "$work cannot be written: is the disk full?"
    fetch_inventories
    fetch_files
    install_inventories
    copy_rest || fail "tags and lists could not be copied: $(explain $?)"
    rm -rf "$work/partial" "$work/list"
    rm -f "$work/unfinished"
    say "copied $copied; serials: $(list_serials)"
}

list_serials() {
    for category in $categories; do
        serial_in "$destination/$category"
        printf '%s %s ' "$category" "$serial"
    done
}

# Tells the registry of each category. The token goes by standard input: command lines are public.
report() {
    [ -n "$host" ] || return 0
    [ -r "$token_file" ] || {
        complain "token_file: $token_file cannot be read; the copy is done, but not reported"
        return 3
    }
    [ -z "$(find "$token_file" -prune -perm -004)" ] ||
        complain "token_file: $token_file can be read by everybody: chmod 600 $token_file"
    token=''
    read -r token <"$token_file" || [ -n "$token" ] || token=''
    is_made_of 'A-Za-z0-9._~+/=-' "$token" || {
        complain "token_file: the first line of $token_file is no token; the copy is done, but not reported"
        return 3
    }
    [ "$private" = no ] || changed=$categories
    result=0
    for category in $categories; do
        case " $changed " in
            *" $category "*) report_one || result=3 ;;
        esac
    done
    return "$result"
}

report_one() {
    serial_in "$destination/$category"
    inventory=''
    [ "$private" = no ] || inventory=",\"inventory\":\"sha256:$hash\""
    ask -d "{\"category\":\"$category\",\"serial\":$serial$inventory}" -H 'Content-Type: application/json' \
        --config - "$registry/api/v1/hosts/$host/report" <<END
header = "Authorization: Bearer $token"
END
    case $status in
        202) say "$category: reported to $registry" && return ;;
        401) hint="the token in $token_file is not valid: ask the operators for a new one" ;;
        403) hint="the token in $token_file is not one of $host" ;;
        404) hint="ask the operators to opt $host in to $category" ;;
        *) hint="the crawler will see it by itself" ;;
    esac
    complain "$category is copied, but $registry did not take the report ($answer): $hint"
    return 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage && exit 0 ;;
        --config)
            [ $# -ge 2 ] || { printf 'portolan-sync: --config needs a file\n' >&2 && exit 2; }
            config=$2
            shift
            ;;
        --dry-run | -n) dry_run=yes ;;
        --force) force=yes ;;
        *)
            printf 'portolan-sync: there is no %s; see --help\n' "$1" >&2
            exit 2
            ;;
    esac
    shift
done
read_config
check_config
turn_log
take_lock
if ! is_new; then
    say "nothing new: $tag"
    [ "$private" = yes ] || exit 0
    report
    exit $?
fi
if [ "$dry_run" = yes ]; then
    copy_rest --dry-run --itemize-changes --stats || fail "it would fail: $(explain $?)"
    printf '%s\n' "$output"
    exit 0
fi
synchronize
report
