{{- define "wardline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "wardline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "wardline.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "wardline.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The services there are. A new one is a line here and a key in values.yaml. */ -}}
{{- define "wardline.services" -}}
- analytics
- archive
- ingest
- query
- registry
- writer
{{- end -}}

{{- /* Argument of what follows: dict "root" $ "component" name. */ -}}
{{- define "wardline.selector" -}}
app.kubernetes.io/name: {{ include "wardline.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "wardline.labels" -}}
{{ include "wardline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "wardline.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* What speaks HTTP/2 in the clear is named as such (a mesh or gateway goes by it); TLS has no name there. */ -}}
{{- define "wardline.grpcPort" -}}
- {name: grpc, port: 50051, targetPort: grpc{{ if not .Values.tls.secretName }}, appProtocol: kubernetes.io/h2c{{ end }}}
{{- end -}}
