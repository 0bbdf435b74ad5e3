#!/bin/sh
# What a slave does in the shell agent that cernvm-cluster-agent replaces, for comparison: ask until the master is
# ready, read its address, put it in place of the placeholder. Another program has parsed the section, as it is
# in the boot loader, so that this is only the agent's own part.
#
#     shell-agent.sh URL PIN USER-DATA [CA]
url=$1
pin=$2
user_data=$3
ca=${4:+--cacert $4}
answer=$(mktemp)

# get KEY: leaves the answer's body in $answer, succeeds on 200.
get() {
    # $ca is a flag and its value, or nothing.
    # shellcheck disable=SC2086
    status=$(curl -s $ca -H 'Accept: text/plain' -o "$answer" -w '%{http_code}' \
        "$url/api/v1/clusters/$pin/keys/$1")
    [ "$status" = 200 ]
}

# poll KEY: as often and as long as the original.
poll() {
    tries=50
    while [ $tries -gt 0 ]; do
        get "$1" && return 0
        tries=$((tries - 1))
        sleep $((25 + $(date +%s) % 10))
    done
    return 1
}

echo "Polling the server for 'master ready' status"
poll master_ready || exit 1
echo "Getting the master IP address from the server"
poll master_ip || exit 1
ip=$(sed 's/^master_ip: //' "$answer")
sed -i "s/###MASTER_IP_PLACEHOLDER###/$ip/g" "$user_data"
echo "Replaced the IP placeholder with: $ip"
rm -f "$answer"
