#!/bin/sh
# shellcheck disable=SC2086  # each variable holds several options
exec /opt/java/bin/java $KAFKA_HEAP_OPTS -XX:+UseSerialGC -XX:-UsePerfData $KAFKA_LOG4J_OPTS -cp '/opt/kafka/libs/*' "$@"
