#!/usr/bin/env bash
# Runs an unmodified Apache RocketMQ on loopback, in the foreground, until SIGTERM or SIGINT.
#
#   rocketmq/run.sh --data DIR [option ...]
#
#   --version V          release on Maven Central with both broker and name server (default 5.3.3; 4.9.7 is the last 4.x)
#   --data DIR           everything that the processes write goes here: stores, logs, configuration
#   --namesrv-port P     start a name server on this port (default 9876)
#   --namesrv ADDR[;..]  start none: register with these name servers
#   --broker-port P      the broker's port (default 10911); it also takes P-2 and P+1
#   --broker-name NAME   default real-a
#   --cluster NAME       default RealCluster
#   --dledger            three replicas at P, P+10, P+20, which elect a master (DLedger ports P+5, P+15, P+25)
#   --heap "FLAGS"       JVM flags of each broker (default "-Xms512m -Xmx1g")
#   --set KEY=VALUE      one more broker property, may be repeated, overrides what is set here
#
# Prints one line that starts with "ready" once every replica is registered and one of them is master. The process ids are in
# DIR/*.pid: one may kill a DLedger replica, and the others go on; the end of a single broker or name server ends this program.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${COMPAT_BUILD:-$here/../target}

version=5.3.3
data=
namesrv_port=9876
namesrv=
broker_port=10911
broker_name=real-a
cluster=RealCluster
dledger=no
heap="-Xms512m -Xmx1g"
properties=()

die() { echo "rocketmq/run.sh: $*" >&2; exit 1; }

while (($#)); do
  case $1 in
    --dledger) dledger=yes; shift; continue ;;
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
  esac
  (($# >= 2)) || die "$1 needs a value"
  case $1 in
    --version) version=$2 ;;
    --data) data=$2 ;;
    --namesrv-port) namesrv_port=$2 ;;
    --namesrv) namesrv=$2 ;;
    --broker-port) broker_port=$2 ;;
    --broker-name) broker_name=$2 ;;
    --cluster) cluster=$2 ;;
    --heap) heap=$2 ;;
    --set) properties+=("$2") ;;
    *) die "unknown option $1" ;;
  esac
  shift 2
done
[[ -n $data ]] || die "--data DIR is required"
mkdir -p "$data" "$build"
data=$(cd "$data" && pwd)

# ---- class path ----

classpath_file=$build/rocketmq-$version.classpath
if [[ ! -s $classpath_file || ! -e $(cut -d: -f1 "$classpath_file") ]]; then
  # Into a file: Maven resets the colours of a terminal that is none, right before our line "ready".
  mvn -q -B -ntp -f "$here/pom.xml" "-Drocketmq.version=$version" dependency:build-classpath \
    "-Dmdep.outputFile=$classpath_file.$$" >"$data/maven.log" 2>&1 || { cat "$data/maven.log" >&2; die "cannot resolve RocketMQ $version"; }
  mv "$classpath_file.$$" "$classpath_file"
fi
classpath=$(<"$classpath_file")

# ---- processes ----

declare -A pids=() # name -> process id

stop_all() {
  local name deadline=$((SECONDS + 20))
  trap '' TERM INT
  # Brokers first, so that they can still unregister.
  for name in "${!pids[@]}"; do [[ $name == namesrv ]] || kill -TERM "${pids[$name]}" 2>/dev/null || true; done
  for name in "${!pids[@]}"; do
    [[ $name == namesrv ]] && continue
    while kill -0 "${pids[$name]}" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
  done
  if [[ -n ${pids[namesrv]:-} ]]; then kill -TERM "${pids[namesrv]}" 2>/dev/null || true; fi
  deadline=$((SECONDS + 5))
  for name in "${!pids[@]}"; do
    while kill -0 "${pids[$name]}" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
    kill -KILL "${pids[$name]}" 2>/dev/null || true
  done
  wait 2>/dev/null || true
}
trap stop_all EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# launch NAME MAIN_CLASS CONFIG_FILE JVM_FLAG...
launch() {
  local name=$1 main=$2 config=$3 home=$data/$1
  shift 3
  # 4.x reads conf/logback_*.xml of its home, 5.x what the property names.
  mkdir -p "$home/conf"
  cp "$here/logback.xml" "$home/conf/logback_namesrv.xml"
  cp "$here/logback.xml" "$home/conf/logback_broker.xml"
  # The opened packages are what RocketMQ reaches into, by reflection, to unmap files and free buffers.
  java "$@" -XX:+UseG1GC -XX:-OmitStackTraceInFastThrow \
    --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/sun.nio.ch=ALL-UNNAMED \
    --add-opens=java.base/jdk.internal.ref=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED \
    "-Djava.io.tmpdir=$home" "-Duser.home=$home" "-Drocketmq.home.dir=$home" "-Dcompat.log.file=$data/$name.log" \
    "-Drmq.logback.configurationFile=$here/logback.xml" -Drocketmq.client.logUseSlf4j=true \
    -cp "$classpath" "$main" -c "$config" >"$data/$name.out" 2>&1 </dev/null &
  pids[$name]=$!
  echo $! >"$data/$name.pid"
}

# Fails, with the end of its output, if the named process has ended.
assert_alive() {
  kill -0 "${pids[$1]}" 2>/dev/null && return
  tail -n 20 "$data/$1.out" "$data/$1.log" >&2 2>/dev/null || true
  die "$1 ended before it was ready; see $data"
}

# ---- readiness, asked over the wire ----

# Sends request code 106 (cluster information) to the first name server and prints the answer's JSON.
cluster_info() {
  local first=${namesrv%%;*} request='{"code":106,"language":"JAVA","version":399,"opaque":1,"flag":0}' length
  exec 3<>"/dev/tcp/${first%:*}/${first##*:}" || return 1
  printf "\\x00\\x00\\x00\\x$(printf %02x $((${#request} + 4)))\\x00\\x00\\x00\\x$(printf %02x ${#request})%s" "$request" >&3
  length=$(timeout 2 head -c 4 <&3 | od -An -tu4 --endian=big | tr -d ' ')
  timeout 2 head -c "${length:-0}" <&3 | tr -d '\000'
  exec 3>&-
}

# True once the broker group has as many addresses as it should, one of them the master's.
registered() {
  local replicas=$1 info addresses
  info=$(cluster_info 2>/dev/null) || return 1
  addresses=$(grep -oE "\"brokerAddrs\":\{[^}]*\},\"brokerName\":\"$broker_name\"" <<<"$info") || return 1
  grep -qE '[{,]"?0"?:' <<<"$addresses" && (($(grep -oE '"?[0-9]+"?:"' <<<"$addresses" | wc -l) == replicas))
}

# wait_for WHAT SECONDS COMMAND...
wait_for() {
  local what=$1 deadline=$((SECONDS + $2)) name
  shift 2
  until "$@"; do
    for name in "${!pids[@]}"; do assert_alive "$name"; done
    ((SECONDS < deadline)) || die "$what is not ready in time; see $data"
    sleep 0.2
  done
}

# ---- name server ----

# 4.x has no bindAddress (its server listens on every interface) and ignores the property.
if [[ -z $namesrv ]]; then
  namesrv=127.0.0.1:$namesrv_port
  cat >"$data/namesrv.properties" <<END
listenPort=$namesrv_port
bindAddress=127.0.0.1
kvConfigPath=$data/namesrv/kvConfig.json
configStorePath=$data/namesrv/namesrv.properties
END
  launch namesrv org.apache.rocketmq.namesrv.NamesrvStartup "$data/namesrv.properties" -Xms32m -Xmx256m
  answers() { cluster_info >/dev/null 2>&1; }
  wait_for "the name server" 30 answers
fi

# ---- brokers ----

# The files are small so that a test run takes tens of megabytes; a benchmark sets what it wants with --set.
broker_properties() {
  local port=$1 store=$2
  cat <<END
brokerClusterName=$cluster
brokerName=$broker_name
namesrvAddr=$namesrv
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
bindAddress=127.0.0.1
listenPort=$port
storePathRootDir=$store
storePathCommitLog=$store/commitlog
mapedFileSizeCommitLog=67108864
mappedFileSizeCommitLog=67108864
mapedFileSizeConsumeQueue=2000000
mappedFileSizeConsumeQueue=2000000
mappedFileSizeTimerLog=10485760
maxHashSlotNum=100000
maxIndexNum=400000
diskMaxUsedSpaceRatio=95
END
}

members=1
[[ $dledger == no ]] || members=3
peers=
for ((i = 0; i < members; i++)); do peers+="n$i-127.0.0.1:$((broker_port + 10 * i + 5));"; done

for ((i = 0; i < members; i++)); do
  name=broker-$i
  mkdir -p "$data/$name/store"
  {
    broker_properties $((broker_port + 10 * i)) "$data/$name/store"
    if [[ $dledger == yes ]]; then
      # Sixteen threads, as in the configuration that RocketMQ ships for DLedger: each waits until its message is replicated.
      printf '%s\n' enableDLegerCommitLog=true sendMessageThreadPoolNums=16 "dLegerGroup=$broker_name" "dLegerPeers=${peers%;}" "dLegerSelfId=n$i"
    else
      printf '%s\n' brokerId=0 brokerRole=ASYNC_MASTER
    fi
    ((${#properties[@]} == 0)) || printf '%s\n' "${properties[@]}"
  } >"$data/$name.properties"
  # shellcheck disable=SC2086 # the heap option is a list of flags
  launch "$name" org.apache.rocketmq.broker.BrokerStartup "$data/$name.properties" $heap -XX:MaxDirectMemorySize=512m
done
wait_for "the broker" 90 registered "$members"
echo "ready version=$version namesrv=$namesrv broker=127.0.0.1:$broker_port cluster=$cluster brokerName=$broker_name"

# ---- until the end ----

while true; do
  wait -n 2>/dev/null || true # the shell's word on a killed child is not needed: ours follows
  running=0
  for name in "${!pids[@]}"; do
    if kill -0 "${pids[$name]}" 2>/dev/null; then
      [[ $name != broker-* ]] || running=$((running + 1))
      continue
    fi
    unset "pids[$name]"
    echo "$name ended" >&2
    [[ $name == broker-* && $dledger == yes ]] || exit 1
  done
  ((running > 0)) || exit 1
done
