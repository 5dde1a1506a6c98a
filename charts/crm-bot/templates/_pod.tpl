{{/* The component's `pod` values over those of all pods. Arguments: root, pod. */}}
{{- define "crm-bot.podValues" -}}
{{ mergeOverwrite (deepCopy .root.Values.pod) (deepCopy (.pod | default dict)) | toYaml }}
{{- end }}

{{/* Metadata of a pod that serves metrics. Arguments: root, component, pod. */}}
{{- define "crm-bot.podMetadata" -}}
{{- $pod := include "crm-bot.podValues" . | fromYaml -}}
labels:
  {{- include "crm-bot.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: crm-bot
  crm-bot/mrf: {{ .root.Values.mrf }}
  {{- with $pod.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ include "crm-bot.settings" .root | sha256sum }}
  {{- if .root.Values.metrics.annotations }}
  prometheus.io/scrape: "true"
  {{- end }}
  {{- with $pod.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/*
What every pod has beside its containers. Arguments: root, pod, serviceAccount, volumes (YAML), kafka (whether it is
used) and warehouse (the role that uses it): their certificates are mounted.
Service links are off: a Service named kafka would bring KAFKA_PORT, which the Kafka client would refuse.
*/}}
{{- define "crm-bot.podSpec" -}}
{{- $v := .root.Values -}}
{{- $pod := include "crm-bot.podValues" . | fromYaml -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .serviceAccount }}
serviceAccountName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml $v.podSecurityContext | nindent 2 }}
{{- with $v.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $pod $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  {{- if .kafka }}
  {{- include "crm-bot.caVolume" (dict "name" "kafka-ca" "ca" $v.kafka.ca) }}
  {{- end }}
  {{- with .warehouse }}
  {{- include "crm-bot.caVolume" (dict "name" "warehouse-ca" "ca" $v.warehouse.ca) }}
  {{- with include "crm-bot.roleSecret" (dict "from" $v.warehouse.clientCertificate "role" .) }}
  - name: warehouse-certificate
    secret: {secretName: {{ . }}, defaultMode: 0440}  # libpq refuses a key that others can read
  {{- end }}
  {{- end }}
  {{- with .volumes }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  {{- with $pod.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "crm-bot.caVolume" -}}
{{- if .ca.secret }}
  - name: {{ .name }}
    secret: {secretName: {{ .ca.secret }}}
{{- else if .ca.configMap }}
  - name: {{ .name }}
    configMap: {name: {{ .ca.configMap }}}
{{- end }}
{{- end }}

{{/*
A container. Arguments: root, pod, name, service (generator, producer, consumer or exporter), args (list), and as
needed: stream, port and portName (serves metrics and probes), kafka (whether it uses it), warehouse (the role by which
it uses it: load, migrate or audit), mounts (YAML), config (the name of another ConfigMap).
*/}}
{{- define "crm-bot.container" -}}
{{- $v := .root.Values }}
{{- $own := get $v .service }}
{{- $secret := "" }}
{{- $certificate := "" }}
{{- with .warehouse }}
{{- $secret = include "crm-bot.roleSecret" (dict "from" $v.warehouse "role" .) }}
{{- $certificate = include "crm-bot.roleSecret" (dict "from" $v.warehouse.clientCertificate "role" .) }}
{{- end }}
{{- $pod := include "crm-bot.podValues" . | fromYaml -}}
name: {{ .name }}
image: {{ include "crm-bot.image" . }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args: {{ toJson .args }}
envFrom:
  - configMapRef: {name: {{ .config | default (printf "%s-config" .root.Release.Name) }}}
  {{- if and .kafka $v.kafka.existingSecret }}
  - secretRef: {name: {{ $v.kafka.existingSecret }}}
  {{- end }}
  {{- with $secret }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- if or .port .stream $certificate $own.env }}
env:
  {{- with .stream }}
  - {name: STREAM, value: {{ . }}}
  {{- end }}
  {{- with .port }}
  - {name: HTTP_PORT, value: {{ . | quote }}}
  {{- end }}
  {{- if $certificate }}
  - {name: PGSSLCERT, value: /etc/crmbot/warehouse-certificate/tls.crt}
  - {name: PGSSLKEY, value: /etc/crmbot/warehouse-certificate/tls.key}
  {{- end }}
  {{- with $own.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .port }}
ports:
  - {name: {{ $.portName }}, containerPort: {{ . }}}
startupProbe:
  httpGet: {path: /healthz, port: {{ $.portName }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: {{ $.portName }}}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: {{ $.portName }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
resources:
  {{- toYaml $own.resources | nindent 2 }}
securityContext:
  {{- toYaml $v.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if and .kafka (or $v.kafka.ca.secret $v.kafka.ca.configMap) }}
  - {name: kafka-ca, mountPath: /etc/crmbot/kafka, readOnly: true}
  {{- end }}
  {{- if and .warehouse (or $v.warehouse.ca.secret $v.warehouse.ca.configMap) }}
  - {name: warehouse-ca, mountPath: /etc/crmbot/warehouse, readOnly: true}
  {{- end }}
  {{- if $certificate }}
  - {name: warehouse-certificate, mountPath: /etc/crmbot/warehouse-certificate, readOnly: true}
  {{- end }}
  {{- with .mounts }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  {{- with $pod.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
