{{- define "driftline.fullname" -}}
{{- if contains "driftline" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-driftline" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "driftline.labels" -}}
{{ include "driftline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "driftline.selector" -}}
app.kubernetes.io/name: driftline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "driftline.notifySelector" -}}
app.kubernetes.io/name: driftline-notify
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "driftline.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "driftline.fullname" .) "default") }}
{{- end }}

{{- define "driftline.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The deployments of this mode, by name: their roles. */}}
{{- define "driftline.workers" -}}
{{- if eq .Values.mode "split" }}{"ingest": "ingest", "detect": "detect"}{{ else }}{"combined": "ingest,detect"}{{ end }}
{{- end }}

{{/* How probes speak to the pods. */}}
{{- define "driftline.scheme" -}}
{{ ternary "HTTPS" "HTTP" (ne .Values.secrets.http.name "") }}
{{- end }}

{{/* How a PodMonitor reads /metrics. */}}
{{- define "driftline.metricsEndpoint" -}}
- port: http
  path: /metrics
  interval: {{ .Values.podMonitor.interval }}
  {{- with .Values.secrets.http }}
  {{- if .name }}
  scheme: https
  authorization:
    credentials: {name: {{ .name }}, key: {{ .token }}}
  tlsConfig:
    ca:
      secret: {name: {{ .name }}, key: {{ $.Values.podMonitor.caKey }}}
    serverName: {{ $.Values.podMonitor.serverName | default (include "driftline.fullname" $) }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* What every pod has in common: no rights, nothing writable but /tmp. */}}
{{- define "driftline.podSecurity" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "driftline.container" -}}
image: {{ include "driftline.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: DRIFTLINE_HTTP__HOST, value: "0.0.0.0"}
  - {name: DRIFTLINE_HTTP__PORT, value: "9464"}
  {{- with .Values.secrets.http }}
  {{- if .name }}
  - {name: DRIFTLINE_HTTP__TLS_CERTFILE, value: {{ printf "/etc/driftline/http/%s" .cert | quote }}}
  - {name: DRIFTLINE_HTTP__TLS_KEYFILE, value: {{ printf "/etc/driftline/http/%s" .key | quote }}}
  - {name: DRIFTLINE_HTTP__TOKEN_FILE, value: {{ printf "/etc/driftline/http/%s" .token | quote }}}
  {{- else }}
  # The pod's own network; the NetworkPolicy says who may read it.
  - {name: DRIFTLINE_HTTP__INSECURE_BIND, value: "true"}
  {{- end }}
  {{- end }}
  - {name: DRIFTLINE_LOG_FORMAT, value: json}
  {{- with .Values.secrets.sasl }}
  {{- if .name }}
  - {name: DRIFTLINE_KAFKA__SASL_PASSWORD_FILE, value: {{ printf "/etc/driftline/sasl/%s" .key | quote }}}
  {{- end }}
  {{- end }}
  {{- with .Values.secrets.tls }}
  {{- if .name }}
  - {name: DRIFTLINE_KAFKA__SSL_CAFILE, value: {{ printf "/etc/driftline/tls/%s" .ca | quote }}}
  {{- if .cert }}
  - {name: DRIFTLINE_KAFKA__SSL_CERTFILE, value: {{ printf "/etc/driftline/tls/%s" .cert | quote }}}
  - {name: DRIFTLINE_KAFKA__SSL_KEYFILE, value: {{ printf "/etc/driftline/tls/%s" .key | quote }}}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumeMounts:
  - {name: config, mountPath: /etc/driftline/config, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.secrets.sasl.name }}
  - {name: sasl, mountPath: /etc/driftline/sasl, readOnly: true}
  {{- end }}
  {{- if .Values.secrets.tls.name }}
  - {name: tls, mountPath: /etc/driftline/tls, readOnly: true}
  {{- end }}
  {{- if .Values.secrets.http.name }}
  - {name: http, mountPath: /etc/driftline/http, readOnly: true}
  {{- end }}
{{- end }}

{{/* Called with a dict of root and config, the name of the ConfigMap. */}}
{{- define "driftline.volumes" -}}
volumes:
  - name: config
    configMap: {name: {{ .config }}}
  - name: tmp
    emptyDir: {sizeLimit: 256Mi}
  {{- with .root.Values.secrets.sasl.name }}
  - name: sasl
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- with .root.Values.secrets.tls.name }}
  - name: tls
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- with .root.Values.secrets.http.name }}
  - name: http
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
{{- end }}

{{/* Who may read /metrics. */}}
{{- define "driftline.metricsIngress" -}}
{{- with .Values.networkPolicy.metricsFrom }}
- from: {{ toYaml . | nindent 4 }}
  ports: [{port: 9464, protocol: TCP}]
{{- else }}
[]
{{- end }}
{{- end }}

{{/* What every pod may reach: names and brokers. */}}
{{- define "driftline.egress" -}}
{{- $ports := .Values.networkPolicy.kafkaPorts }}
{{- if not $ports }}
{{- range splitList "," .Values.config.kafka.bootstrap_servers }}
{{- $ports = append $ports (regexFind "[0-9]+$" (trim .) | int) }}
{{- end }}
{{- end }}
- ports: # names
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports: # brokers
    {{- range $ports | uniq }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
