{{/* The specs of the release's NetworkPolicies by name. Everything else is denied. */}}
{{- define "crm-bot.networkPolicies" -}}
{{- $policy := .Values.networkPolicy -}}
deny:
  podSelector:
    matchLabels: {app.kubernetes.io/name: crm-bot, app.kubernetes.io/instance: {{ .Release.Name }}}
  policyTypes: [Ingress, Egress]
bot:
  podSelector:
    matchLabels:
      {{- include "crm-bot.selector" (dict "root" . "component" "bot") | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- toYaml $policy.monitoring.from | nindent 8 }}
      ports:
        {{- if .Values.generator.enabled }}
        - {port: 9108}
        {{- end }}
        - {port: 9109}
        - {port: 9110}
  egress:
    {{- include "crm-bot.egress" (dict "policy" $policy "to" (list "dns" "kafka" "warehouse")) | nindent 4 }}
consumer:
  podSelector:
    matchLabels: {app.kubernetes.io/name: crm-bot, app.kubernetes.io/instance: {{ .Release.Name }}}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: [consumer-actions, consumer-nature]}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- toYaml $policy.monitoring.from | nindent 8 }}
      ports:
        - {port: 9108}
  egress:
    {{- include "crm-bot.egress" (dict "policy" $policy "to" (list "dns" "kafka" "warehouse")) | nindent 4 }}
{{- if .Values.exporter.enabled }}
exporter:
  podSelector:
    matchLabels:
      {{- include "crm-bot.selector" (dict "root" . "component" "exporter") | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- toYaml $policy.monitoring.from | nindent 8 }}
      ports:
        - {port: 9108}
# The pods that Airflow starts have labels of their own: see dags/dag_data2excel.py.
export-runs:
  podSelector:
    matchLabels: {app.kubernetes.io/name: crmbot-exporter, app.kubernetes.io/instance: {{ .Values.mrf }}}
  policyTypes: [Ingress, Egress]
  egress:
    {{- include "crm-bot.egress" (dict "policy" $policy "to" (list "dns" "warehouse")) | nindent 4 }}
{{- end }}
hooks:
  podSelector:
    matchLabels: {app.kubernetes.io/name: crm-bot, app.kubernetes.io/instance: {{ .Release.Name }}}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: [topics, migrate, repartition-actions, repartition-nature, recovery-0, recovery-1, recovery-2, recovery-3]}
  policyTypes: [Ingress, Egress]
  egress:
    {{- include "crm-bot.egress" (dict "policy" $policy "to" (list "dns" "kafka" "warehouse")) | nindent 4 }}
{{- if .Values.maintain.enabled }}
maintain:
  podSelector:
    matchLabels: {app.kubernetes.io/name: crm-bot, app.kubernetes.io/instance: {{ .Release.Name }}}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: [maintain, reorganize]}
  policyTypes: [Ingress, Egress]
  egress:
    {{- include "crm-bot.egress" (dict "policy" $policy "to" (list "dns" "warehouse")) | nindent 4 }}
{{- end }}
audit:
  podSelector:
    matchLabels:
      {{- include "crm-bot.selector" (dict "root" . "component" "audit") | nindent 6 }}
  policyTypes: [Ingress, Egress]
  egress:
    {{- include "crm-bot.egress" (dict "policy" $policy "to" (list "dns" "warehouse")) | nindent 4 }}
{{- end }}

{{/* A pod's egress rules. Arguments: policy, to (a list of dns, kafka, warehouse). */}}
{{- define "crm-bot.egress" -}}
{{- range .to }}
{{- $peer := get $.policy . }}
- ports:
    {{- if eq . "dns" }}
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    {{- else }}
    {{- range $peer.ports }}
    - {port: {{ . | int64 }}}
    {{- end }}
    {{- end }}
  {{- with $peer.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
