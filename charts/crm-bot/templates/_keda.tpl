{{/* How KEDA's kafka trigger reaches the broker: bootstrapServers, metadata, isSasl, isSecured. */}}
{{- define "crm-bot.kedaKafka" -}}
{{- $kafka := .Values.kafka }}
{{- if not $kafka.bootstrapServers }}
  {{- fail "consumer.autoscaling needs kafka.bootstrapServers: KEDA is not given the Secret to read them from" }}
{{- end }}
{{- $servers := list }}
{{- range $server := splitList "," $kafka.bootstrapServers }}
  {{- $address := regexReplaceAll "^[A-Z_]+://" (trim $server) "" }}
  {{- /* KEDA resolves names in its own namespace; a name without dots is a Service of the release's. */}}
  {{- $servers = append $servers (regexReplaceAll "^([^.:\\[]+)(:[0-9]+)?$" $address (printf "${1}.%s.svc${2}" $.Release.Namespace)) }}
{{- end }}
{{- $protocol := dig "KAFKA_SECURITY_PROTOCOL" "PLAINTEXT" $kafka.config | upper }}
{{- $metadata := dict }}
{{- if hasSuffix "SSL" $protocol }}
  {{- $_ := set $metadata "tls" "enable" }}
{{- end }}
{{- if hasPrefix "SASL" $protocol }}
  {{- $names := dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" }}
  {{- with get $names (dig "KAFKA_SASL_MECHANISM" "" $kafka.config) }}
    {{- $_ := set $metadata "sasl" . }}
  {{- end }}
{{- end }}
bootstrapServers: {{ join "," $servers }}
isSasl: {{ hasPrefix "SASL" $protocol }}
isSecured: {{ ne $protocol "PLAINTEXT" }}
metadata: {{ toJson $metadata }}
{{- end }}
