# What the fake services share. Their state is in files outside /data, so that a test finds nothing there but its own.
state=${PHONE_STATE:-/dev/phone}

# Every call is written down.
echo "${0##*/} $*" >> "$state/log"

# edit FILE START LINE: the lines of a file that begin with START become LINE.
edit() {
    while IFS= read -r line; do
        case "$line" in
            "$2"*) echo "$3" ;;
            *) echo "$line" ;;
        esac
    done < "$1" > "$1.$$"
    cat "$1.$$" > "$1"
    rm "$1.$$"
}

setting() { echo "$2" > "$state/settings/global/$1"; }
