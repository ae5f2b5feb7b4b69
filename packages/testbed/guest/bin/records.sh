# The records that write-records makes and verify-records checks; sourced by both.
#
# DIR/records holds one line of 108 bytes for each record, numbered from 1 without a gap, split by colons:
#    0 10  sequence number            11 10  uptime, hundredths of a second
#   22  3  block of DIR/churn         26 64  SHA-256 of that block's new content
#   91 16  check over the fields before it
# DIR/churn holds 256 blocks of 64 KiB. Record n is appended and synced after its block was overwritten
# and synced. So at any moment, whatever is torn away: records 1…last are whole, the file may end in a piece
# of record last+1, and every block but the one that last+1 belongs to is what its latest record says.
record_bytes=108
block_bytes=65536
blocks=256

# block_of SEQ: sets $block. Scattered, but known beforehand, so that the verifier knows which block may
# be in the middle of being written.
block_of() { block=$(((($1 * 2654435761) % 4294967296) >> 24)); }

# check_of SEQ UPTIME BLOCK SUM: sets $check. Xor, then an odd factor (FNV's): any change of one field
# shows, and no process is started for it.
check_of() {
  check=$(((1469598103934665603 ^ $1) * 1099511628211))
  check=$(((check ^ $2) * 1099511628211))
  check=$(((check ^ $3) * 1099511628211))
  check=$(((check ^ 0x${4:0:16}) * 1099511628211))
  check=$(((check ^ 0x${4:16:16}) * 1099511628211))
  check=$(((check ^ 0x${4:32:16}) * 1099511628211))
  check=$(((check ^ 0x${4:48:16}) * 1099511628211))
}

# parse_record LINE: sets $seq $uptime $block $sum; fails when LINE is not a whole, unharmed record.
parse_record() {
  case $1 in ??????????:??????????:???:*:????????????????) ;; *) return 1 ;; esac
  [ ${#1} -eq $((record_bytes - 1)) ] || return 1
  seq=${1:0:10} uptime=${1:11:10} block=${1:22:3} sum=${1:26:64} stored=${1:91:16}
  case $seq$uptime$block in *[!0-9]*) return 1 ;; esac
  case $sum$stored in *[!0-9a-f]*) return 1 ;; esac
  seq=$((1$seq - 10000000000)) uptime=$((1$uptime - 10000000000)) block=$((1$block - 1000))
  check_of $seq $uptime $block $sum
  return $((0x$stored != check))
}

# read_end DIR: sets $whole (records that the file has in full and whose last is good) and $torn (bytes
# after them, of a record that was being appended).
read_end() {
  size=$(stat -c %s "$1/records" 2>/dev/null || echo 0)
  whole=$((size / record_bytes))
  if [ $whole -gt 0 ] && ! parse_record "$(tail -c +$(((whole - 1) * record_bytes + 1)) "$1/records" | head -n 1)"; then
    whole=$((whole - 1))
  fi
  torn=$((size - whole * record_bytes))
}
