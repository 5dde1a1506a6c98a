#!/bin/sh
exec /opt/java/bin/java $KAFKA_HEAP_OPTS -XX:+UseSerialGC -XX:-UsePerfData $KAFKA_LOG4J_OPTS -cp '/opt/kafka/libs/*' "$@"
