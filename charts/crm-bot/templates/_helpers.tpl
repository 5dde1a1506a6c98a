{{/* Labels that select the pods of a component. Arguments: root, component. */}}
{{- define "crm-bot.selector" -}}
app.kubernetes.io/name: crm-bot
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object. Arguments: root, component. */}}
{{- define "crm-bot.labels" -}}
{{ include "crm-bot.selector" . }}
app.kubernetes.io/part-of: crm-bot
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
crm-bot/mrf: {{ .root.Values.mrf }}
{{- end }}

{{/* The service's settings that are not secret, as environment variables. */}}
{{- define "crm-bot.settings" -}}
{{- $v := .Values }}
{{- if not (or $v.kafka.bootstrapServers $v.kafka.existingSecret) }}
{{- fail "kafka: set bootstrapServers, or an existingSecret that has KAFKA_BOOTSTRAP_SERVERS" }}
{{- end }}
{{- if not (or $v.warehouse.dsn $v.warehouse.existingSecret) }}
{{- fail "warehouse: set dsn, or an existingSecret that has WAREHOUSE_DSN" }}
{{- end -}}
MRF: {{ $v.mrf }}
TIMEZONE: {{ $v.timezone }}
LOG_LEVEL: {{ $v.logLevel }}
{{- with $v.kafka.bootstrapServers }}
KAFKA_BOOTSTRAP_SERVERS: {{ . | quote }}
{{- end }}
{{- range $name, $value := $v.kafka.config }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- if or $v.kafka.ca.secret $v.kafka.ca.configMap }}
KAFKA_SSL_CA_LOCATION: /etc/crmbot/kafka/{{ $v.kafka.ca.key }}
{{- end }}
{{- with $v.warehouse.dsn }}
WAREHOUSE_DSN: {{ . | quote }}
{{- end }}
{{- if or $v.warehouse.ca.secret $v.warehouse.ca.configMap }}
PGSSLMODE: verify-full
PGSSLROOTCERT: /etc/crmbot/warehouse/{{ $v.warehouse.ca.key }}
{{- end }}
PARTITIONS: {{ $v.topics.partitions | int64 | quote }}
REPLICATION_FACTOR: {{ $v.topics.replicationFactor | int64 | quote }}
RETENTION_HOURS: {{ $v.topics.retentionHours | int64 | quote }}
DATA_DIR: /data
PROFILE: {{ $v.generator.profile | quote }}
{{- with $v.generator.managers }}
MANAGERS: {{ . | int64 | quote }}
{{- end }}
PAGE_ROWS: {{ $v.producer.pageRows | int64 | quote }}
POLL_SECONDS: {{ $v.producer.pollSeconds | quote }}
BATCH_ROWS: {{ $v.consumer.batchRows | int64 | quote }}
BATCH_SECONDS: {{ $v.consumer.batchSeconds | quote }}
DRAIN_SECONDS: {{ $v.consumer.drainSeconds | quote }}
MAX_REJECTS_IN_A_ROW: {{ $v.consumer.maxRejectsInARow | int64 | quote }}
MAX_REJECTS_SHARE: {{ $v.consumer.maxRejectsShare | quote }}
FOLD_DAYS: {{ $v.maintain.foldDays | int64 | quote }}
STUCK_MINUTES: {{ $v.stuckMinutes | quote }}
OUTPUT_DIR: /workbooks
{{- end }}

{{/* A role's Secret of the warehouse. Arguments: from (warehouse or warehouse.clientCertificate), role (load, migrate, audit or export). */}}
{{- define "crm-bot.roleSecret" -}}
{{- get .from (printf "%sSecret" .role) | default .from.existingSecret }}
{{- end }}

{{/* The name of a service's image. Arguments: root, service. */}}
{{- define "crm-bot.image" -}}
{{- $all := .root.Values.image }}
{{- $own := (get .root.Values .service).image }}
{{- with $all.registry }}{{ . }}/{{ end }}{{ $own.repository }}:{{ $own.tag | default $all.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* The claim that holds the workbooks. */}}
{{- define "crm-bot.workbooks" -}}
{{ .Values.exporter.workbooks.existingClaim | default (printf "%s-workbooks" .Release.Name) }}
{{- end }}

{{/* The claim that holds the bot's files. */}}
{{- define "crm-bot.data" -}}
{{ .Values.bot.persistence.existingClaim | default (printf "data-%s-bot-0" .Release.Name) }}
{{- end }}

{{/* The MRF's entry in dags/data2excel.yaml: where this release differs from the file's defaults. */}}
{{- define "crm-bot.dagEntry" -}}
{{ .Values.mrf }}:
  title: {{ .Values.title | default .Values.mrf }}
  timezone: {{ .Values.timezone }}
  schedule: {{ .Values.exporter.schedule | quote }}
  namespace: {{ .Release.Namespace }}
  image: {{ include "crm-bot.image" (dict "root" . "service" "exporter") }}
  service_account: {{ .Release.Name }}-exporter
  {{- with include "crm-bot.roleSecret" (dict "from" .Values.warehouse "role" "export") }}
  warehouse_secret: {{ . }}
  {{- end }}
  {{- with .Values.warehouse.ca }}
  {{- if .secret }}
  warehouse_ca: {secret: {{ .secret }}, key: {{ .key }}}
  {{- else if .configMap }}
  warehouse_ca: {config_map: {{ .configMap }}, key: {{ .key }}}
  {{- end }}
  {{- end }}
  {{- with include "crm-bot.roleSecret" (dict "from" .Values.warehouse.clientCertificate "role" "export") }}
  warehouse_certificate: {{ . }}
  {{- end }}
  output_claim: {{ include "crm-bot.workbooks" . }}
  fs_group: {{ with .Values.podSecurityContext.fsGroup }}{{ . | int64 }}{{ else }}null{{ end }}
{{- end }}
