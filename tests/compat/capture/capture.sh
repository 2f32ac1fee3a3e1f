#!/bin/sh
# Captures what the Java classes of one RocketMQ release put on the wire: capture.sh VERSION > FILE
# Needs a JDK and Maven, which fetches the release. The output has no time and no randomness in it.
set -eu
version=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mvn -q -B --no-transfer-progress -f "$here/pom.xml" -Drocketmq.version="$version" dependency:copy-dependencies \
    -DoutputDirectory="$work/lib" > /dev/null

# 5.0 moved the protocol's classes from the common to the remoting module.
moves=
case $version in
5.*)
    moves='s/rocketmq\.common\.protocol\./rocketmq.remoting.protocol./
        s/rocketmq\.common\.\(DataVersion\|admin\.Topic\)/rocketmq.remoting.protocol.\1/
        s/rocketmq\.common\.protocol/rocketmq.remoting.protocol/
        s/rocketmq\.common\.filter\.FilterAPI/rocketmq.remoting.protocol.filter.FilterAPI/
        s/TopicConfigSerializeWrapper/TopicConfigAndMappingSerializeWrapper/g
        s,//5// ,,
        s/\(register\|wrapper\)\.setTopicConfigAndMapping/\1.setTopicConfig/'
    ;;
esac
sed "$moves" "$here/Capture.java" > "$work/Capture.java"
javac -nowarn -encoding UTF-8 -cp "$work/lib/*" -d "$work" "$work/Capture.java" 2> "$work/javac.log" ||
    { cat "$work/javac.log" >&2; exit 1; }
java -Duser.home="$work" -cp "$work:$work/lib/*" Capture 2> "$work/java.log" || { cat "$work/java.log" >&2; exit 1; }
