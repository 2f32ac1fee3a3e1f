#!/usr/bin/env bash
# Real, unmodified RocketMQ clients against a name server and its brokers.
#
#   tests/compat/run.sh [option ...] [suite ...]
#
#   --namesrv ADDR[;ADDR]  the cluster under test (default 127.0.0.1:9876)
#   --real VERSION         start an Apache RocketMQ of this version (5.3.3, 4.9.7) and test that: checks the programs themselves
#   --dledger              with --real: three replicas that elect a master
#   --java-version V       a Java client to run; may be repeated (default 4.9.8 and 5.3.3; 4.9.8 alone with --real 4.*)
#   --seconds N            how long the suite "failover" sends (default 5); see README.md for its use while brokers are killed
#   --rate N               messages per second that it sends at most (default 400)
#   --logs DIR             keep the clients' and brokers' logs there, instead of deleting them
#
# A suite is NAME (in every language that has it), LANGUAGE/NAME, or a LANGUAGE (java, java-binary, go). None means all.
# One line for each suite: "ok PROGRAM NAME", "FAILED PROGRAM NAME: reason" or "skipped PROGRAM NAME: reason"; a language whose tools
# are not installed is "skipped LANGUAGE: reason". The last line counts them; the exit status is 1 if one failed, 2 for a wrong call.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${COMPAT_BUILD:-$here/target}
export COMPAT_BUILD=$build

readonly PROGRAM_SECONDS=360
readonly STOP_SECONDS=40
# What is run again with binary headers (rocketmq.serialize.type=ROCKETMQ): each kind of request once.
readonly BINARY_SUITES="send-sync send-async send-one-way send-batch send-properties push-concurrent push-ordered push-retry-dlq
  pull-classic pull-lite offset-restart query admin-topic auto-topic"

namesrv=127.0.0.1:9876
real=
dledger=()
java_versions=()
seconds=5
rate=400
logs=
wanted=()

usage() { echo "run.sh: $*" >&2; exit 2; }

while (($#)); do
  case $1 in
    --dledger) dledger=(--dledger); shift; continue ;;
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --*) (($# >= 2)) || usage "$1 needs a value" ;;
    *) wanted+=("$1"); shift; continue ;;
  esac
  case $1 in
    --namesrv) namesrv=$2 ;;
    --real) real=$2 ;;
    --java-version) java_versions+=("$2") ;;
    --seconds) seconds=$2 ;;
    --rate) rate=$2 ;;
    --logs) logs=$2 ;;
    *) usage "unknown option $1" ;;
  esac
  shift 2
done
if ((${#java_versions[@]} == 0)); then
  # A 5.x client pulls with requests that a 4.x broker does not know.
  if [[ $real == 4.* ]]; then java_versions=(4.9.8); else java_versions=(4.9.8 5.3.3); fi
fi

work=$(mktemp -d)
report=$work/report
: >"$report"
if [[ -z $logs ]]; then logs=$work/logs; fi
mkdir -p "$logs" "$build"
logs=$(cd "$logs" && pwd)
real_pid=

finish() {
  trap '' INT TERM
  if [[ -n $real_pid ]]; then
    kill -TERM "$real_pid" 2>/dev/null || true
    for ((i = 0; i < STOP_SECONDS * 10; i++)); do
      kill -0 "$real_pid" 2>/dev/null || break
      sleep 0.1
    done
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { echo "$*" | tee -a "$report"; }

# ---- a real RocketMQ to test, for the self-check ----

answers() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }
free() { ! answers 127.0.0.1 "$1"; }

# True once one of the name servers takes connections; they may be starting.
namesrv_answers() {
  local deadline=$((SECONDS + 20)) address
  while ((SECONDS < deadline)); do
    for address in ${namesrv//;/ }; do
      if answers "${address%:*}" "${address##*:}"; then return; fi
    done
    sleep 0.2
  done
  return 1
}

# Prints the first of 60 ports of which none answers.
free_ports() {
  local base port
  for ((base = 20000 + $$ % 100 * 100; base < 32000; base += 100)); do
    for ((port = base; port < base + 60; port++)); do free "$port" || continue 2; done
    echo "$base"
    return
  done
  return 1
}

start_real() {
  local base line
  base=$(free_ports) || usage "no free ports"
  # On a slow machine sends may wait: by default it refuses those that wait for 200 ms.
  exec 4< <(exec "$here/rocketmq/run.sh" --version "$real" --data "$logs/real" --namesrv-port "$base" \
    --broker-port $((base + 10)) --set waitTimeMillsInSendQueue=5000 ${dledger[@]+"${dledger[@]}"} 2>"$logs/real.err")
  real_pid=$!
  while read -r line <&4; do
    if [[ $line == ready\ * ]]; then
      namesrv=127.0.0.1:$base
      return
    fi
  done
  tail -n 30 "$logs/real.err" >&2
  echo "run.sh: RocketMQ $real did not start" >&2
  exit 1
}

# ---- which suites ----

# chosen LANGUAGE SUITE...: prints those of the suites that the command line asks for.
chosen() {
  local language=$1 suite want
  shift
  for suite in "$@"; do
    if ((${#wanted[@]} == 0)); then
      echo "$suite"
      continue
    fi
    for want in "${wanted[@]}"; do
      if [[ $want == "$suite" || $want == "$language" || $want == "$language/$suite" ]]; then
        echo "$suite"
        break
      fi
    done
  done
}

# A name that no program knows is a mistake, not an empty run.
check_wanted() {
  local want
  for want in ${wanted[@]+"${wanted[@]}"}; do
    case $want in java | java-binary | go) continue ;; esac
    if ! grep -qxF "${want#*/}" "$work"/*.suites; then usage "no suite is named $want"; fi
  done
}

# ---- programs ----

# run_program LABEL COMMAND...: passes the report lines on; a program that ends without them is a failure of its own.
run_program() {
  local label=$1 status=0
  shift
  timeout -k 10 "$PROGRAM_SECONDS" "$@" 2>"$logs/$label.err" | tee -a "$report" || status=$?
  if ((status != 0)) && ! grep -q "^FAILED $label " "$report"; then
    tail -n 20 "$logs/$label.err" >&2
    say "FAILED $label program: ended with status $status"
  fi
}

# True if anything in the folders is newer than the mark.
stale() {
  local mark=$1
  shift
  [[ ! -e $mark ]] || [[ -n $(find "$@" -type f -newer "$mark" -print -quit) ]]
}

java_available() {
  command -v java >/dev/null && command -v mvn >/dev/null || return 1
  local major
  major=$(java -version 2>&1 | sed -nE '1s/.* version "([0-9]+).*/\1/p')
  ((${major:-0} >= 17))
}

build_java() {
  local version=$1 mark=$build/java-$1.classpath
  stale "$mark" "$here/java" || return 0
  mvn -q -B -ntp -f "$here/java/pom.xml" "-Drocketmq.version=$version" "-Dcompat.build=$build" \
    compile dependency:build-classpath "-Dmdep.outputFile=$mark.new" >"$logs/build-java-$version.log" 2>&1 || return 1
  mv "$mark.new" "$mark"
}

# Sets `command` to the Java program of that client version, to which arguments may be added.
java_command() {
  local version=$1
  shift
  # The home directory is where clients keep logs and the offsets of broadcast groups.
  command=(java -Xmx256m -XX:+UseSerialGC "-Djava.io.tmpdir=$work" "-Duser.home=$logs/java-$version" "-Drocketmq.client.logRoot=$logs/java-$version"
    -Drocketmq.client.logLevel=WARN "-Drocketmq.client.localOffsetStoreDir=$work/offsets" "$@"
    -cp "$build/java-$version/classes:$(<"$build/java-$version.classpath")" trireme.compat.Main)
}

run_java() {
  local version=$1 broker=$1 suites
  # The last 4.x release whose broker is on Maven Central is 4.9.7.
  if [[ $version == 4.* ]]; then broker=4.9.7; fi
  local arguments=(--namesrv "$namesrv" --logs "$logs" --seconds "$seconds" --rate "$rate"
    --broker "$here/rocketmq/run.sh" --broker-version "$broker")
  # shellcheck disable=SC2046 # names of suites have no spaces
  suites=$(chosen java $(<"$work/java-$version.suites"))
  if [[ -n $suites ]]; then
    java_command "$version"
    # shellcheck disable=SC2086
    run_program "java-$version" "${command[@]}" "${arguments[@]}" --label "java-$version" $suites
  fi
  # shellcheck disable=SC2086
  suites=$(chosen java-binary $BINARY_SUITES)
  if [[ -n $suites ]]; then
    java_command "$version" -Drocketmq.serialize.type=ROCKETMQ
    # shellcheck disable=SC2086
    run_program "java-$version-binary" "${command[@]}" "${arguments[@]}" --label "java-$version-binary" $suites
  fi
}

# ---- build, then run ----

programs=()

if java_available; then
  for version in "${java_versions[@]}"; do
    if build_java "$version"; then
      java_command "$version"
      "${command[@]}" list >"$work/java-$version.suites"
      programs+=("java-$version")
    else
      tail -n 20 "$logs/build-java-$version.log" >&2
      say "FAILED java-$version build: does not build"
    fi
  done
else
  say "skipped java: needs Java 17 or newer, and Maven"
fi

if command -v go >/dev/null; then
  if (cd "$here/go" && go build -o "$build/go-clients" .) >"$logs/build-go.log" 2>&1; then
    "$build/go-clients" -list >"$work/go.suites"
    programs+=(go)
  else
    tail -n 20 "$logs/build-go.log" >&2
    say "FAILED go build: does not build"
  fi
else
  say "skipped go: needs Go 1.21 or newer"
fi

if ((${#programs[@]} > 0)); then
  check_wanted
  if [[ -n $real ]]; then start_real; fi
  if ! namesrv_answers; then
    say "FAILED cluster connection: no name server answers at $namesrv"
    programs=()
  fi
  for program in ${programs[@]+"${programs[@]}"}; do
    if [[ $program == java-* ]]; then
      run_java "${program#java-}"
      continue
    fi
    # shellcheck disable=SC2046
    suites=$(chosen go $(<"$work/go.suites"))
    # shellcheck disable=SC2086
    if [[ -n $suites ]]; then run_program go "$build/go-clients" -namesrv "$namesrv" $suites; fi
  done
fi

count() { grep -c "^$1 " "$report" || true; }
failed=$(count FAILED)
echo "$(count ok) passed, $failed failed, $(count skipped) skipped"
((failed == 0))
