{{- /*
The one place that knows the program's configuration: sections and keys of its TOML file, names of its environment
variables, and where files from Secrets are mounted.
*/ -}}

{{- define "wardline.config.toml" -}}
{{- $server := dict "grpc_listen" "0.0.0.0:50051" "api_listen" "0.0.0.0:8080" "http_listen" "0.0.0.0:9464" -}}
{{- with int64 .Values.connections.max }}{{ $_ := set $server "max_connections" . }}{{ end -}}
{{- $_ := set $server "max_connections_per_address" (int64 .Values.connections.maxPerAddress) -}}

{{- if .Values.routes.enabled }}{{ $_ := set $server "one_address" true }}{{ end -}}

{{- $t := .Values.tls -}}
{{- $tls := dict -}}
{{- if $t.secretName -}}
{{- $_ := set $tls "cert_file" (printf "/etc/wardline/tls/%s" $t.certKey) -}}
{{- $_ := set $tls "key_file" (printf "/etc/wardline/tls/%s" $t.keyKey) -}}
{{- if not $t.api }}{{ $_ := set $tls "api" false }}{{ end -}}
{{- end -}}
{{- if $t.clientCa.secretName -}}
{{- $_ := set $tls "client_ca_file" (printf "/etc/wardline/client-ca/%s" $t.clientCa.caKey) -}}
{{- $crls := list -}}
{{- range $t.clientCa.crlKeys }}{{ $crls = append $crls (printf "/etc/wardline/client-ca/%s" .) }}{{ end -}}
{{- with $crls }}{{ $_ := set $tls "crl_files" . }}{{ end -}}
{{- end -}}
{{- with $t.clientAuth }}{{ $_ := set $tls "client_auth" . }}{{ end -}}
{{- with int64 $t.handshakeTimeoutSeconds }}{{ $_ := set $tls "handshake_timeout_seconds" . }}{{ end -}}

{{- $k := .Values.kafka -}}
{{- $kafka := dict "brokers" (join "," $k.brokers) "security_protocol" $k.securityProtocol -}}
{{- with $k.topic }}{{ $_ := set $kafka "topic" . }}{{ end -}}
{{- with $k.noticesTopic }}{{ $_ := set $kafka "notices_topic" . }}{{ end -}}
{{- with int64 $k.partitions }}{{ $_ := set $kafka "partitions" . }}{{ end -}}
{{- with int64 $k.replicationFactor }}{{ $_ := set $kafka "replication_factor" . }}{{ end -}}
{{- with int64 $k.minInsyncReplicas }}{{ $_ := set $kafka "min_insync_replicas" . }}{{ end -}}
{{- with $k.compression }}{{ $_ := set $kafka "compression" . }}{{ end -}}
{{- with $k.saslMechanism }}{{ $_ := set $kafka "sasl_mechanism" . }}{{ end -}}
{{- if $k.tls.secretName -}}
{{- with $k.tls.caKey }}{{ $_ := set $kafka "ca_file" (printf "/etc/wardline/kafka-tls/%s" .) }}{{ end -}}
{{- with $k.tls.certKey }}{{ $_ := set $kafka "cert_file" (printf "/etc/wardline/kafka-tls/%s" .) }}{{ end -}}
{{- with $k.tls.keyKey }}{{ $_ := set $kafka "key_file" (printf "/etc/wardline/kafka-tls/%s" .) }}{{ end -}}
{{- end -}}

{{- $c := .Values.cql -}}
{{- $cql := dict "nodes" $c.nodes -}}
{{- with $c.keyspace }}{{ $_ := set $cql "keyspace" . }}{{ end -}}
{{- with $c.replication }}{{ $_ := set $cql "replication" . }}{{ end -}}
{{- with $c.consistency }}{{ $_ := set $cql "consistency" . }}{{ end -}}
{{- with $c.datacenter }}{{ $_ := set $cql "datacenter" . }}{{ end -}}
{{- with int64 $c.buckets }}{{ $_ := set $cql "buckets" . }}{{ end -}}
{{- if $c.tls.secretName -}}
{{- with $c.tls.caKey }}{{ $_ := set $cql "ca_file" (printf "/etc/wardline/cql-tls/%s" .) }}{{ end -}}
{{- with $c.tls.certKey }}{{ $_ := set $cql "cert_file" (printf "/etc/wardline/cql-tls/%s" .) }}{{ end -}}
{{- with $c.tls.keyKey }}{{ $_ := set $cql "key_file" (printf "/etc/wardline/cql-tls/%s" .) }}{{ end -}}
{{- end -}}

{{- $issuers := list -}}
{{- range .Values.auth.issuers -}}
{{- $issuer := dict "name" .name "audience" .audience "algorithm" .algorithm -}}
{{- with .kid }}{{ $_ := set $issuer "kid" . }}{{ end -}}
{{- with .publicKey }}{{ $_ := set $issuer "public_key_file" (printf "/etc/wardline/issuers/%s" .) }}{{ end -}}
{{- with .discovery }}{{ $_ := set $issuer "discovery" . }}{{ end -}}
{{- with .ca }}{{ $_ := set $issuer "ca_file" (printf "/etc/wardline/issuers/%s" .) }}{{ end -}}
{{- with .tokenType }}{{ $_ := set $issuer "token_type" . }}{{ end -}}
{{- with .nbf }}{{ $_ := set $issuer "nbf" . }}{{ end -}}
{{- with .subjectClaim }}{{ $_ := set $issuer "subject_claim" . }}{{ end -}}
{{- with .subjects }}{{ $_ := set $issuer "subjects" . }}{{ end -}}
{{- with .bareUuid }}{{ $_ := set $issuer "bare_uuid" . }}{{ end -}}
{{- $issuers = append $issuers $issuer -}}
{{- end -}}
{{- $auth := dict "demo" "off" "issuers" $issuers -}}

{{- $config := dict "server" $server "log" (dict "kind" "kafka" "kafka" $kafka) "store" (dict "kind" "cql" "cql" $cql) "auth" $auth -}}
{{- with $tls }}{{ $_ := set $config "tls" . }}{{ end -}}
{{- with .Values.logLevel }}{{ $_ := set $config "telemetry" (dict "level" .) }}{{ end -}}
{{- with .Values.study }}{{ if .secretName }}
{{- $study := dict "key_file" (printf "/etc/wardline/study/%s" .key) -}}
{{- with int64 .maxDays }}{{ $_ := set $study "max_days" . }}{{ end -}}
{{- $_ := set $config "study" $study -}}
{{- end }}{{ end -}}
{{- $devices := dict -}}
{{- with .Values.devices.tokenIssuer }}{{ $_ := set $devices "token_issuer" . }}{{ end -}}
{{- with int64 .Values.devices.tokenMinutes }}{{ $_ := set $devices "token_minutes" . }}{{ end -}}
{{- $keys := list -}}
{{- range .Values.devices.publicKeys }}{{ $keys = append $keys (printf "/etc/wardline/issuers/%s" .) }}{{ end -}}
{{- with $keys }}{{ $_ := set $devices "token_public_key_files" . }}{{ end -}}
{{- with $devices }}{{ $_ := set $config "devices" . }}{{ end -}}
{{- if .Values.directory.secretName }}{{ $_ := set $config "directory" (dict "dir" "/etc/wardline/directory") }}{{ end -}}
{{- $_ := set $config "audit" (dict "dir" "/var/lib/wardline/audit") -}}
{{- $_ := set $config "analytics" (dict "objects_dir" "/var/lib/wardline/analytics") -}}
{{- $archive := dict "dir" "/var/lib/wardline/archive" -}}
{{- with .Values.archive.bucket }}{{ if .name }}
{{- $_ := set $archive "bucket" (dict "name" .name "endpoint" .endpoint "region" .region "allow_private" .allowPrivate) -}}
{{- end }}{{ end -}}
{{- $_ := set $config "archive" $archive -}}
{{- $config = mergeOverwrite $config (deepCopy .Values.extraConfig) -}}
{{- /* Helm reads every number as a float; TOML and the program tell 8 from 8.0. */ -}}
{{- regexReplaceAll "(?m)= (-?[0-9]+)\\.0$" (toToml $config) "= ${1}" | trim -}}
{{- end -}}

{{- /* Argument: dict "root" $ "component" name. */ -}}
{{- define "wardline.env" -}}
{{- with .root.Values.kafka.credentials }}{{ if .secretName }}
{{ include "wardline.env.secret" (list "WARDLINE__LOG__KAFKA__USERNAME" .secretName .usernameKey) }}
{{ include "wardline.env.secret" (list "WARDLINE__LOG__KAFKA__PASSWORD" .secretName .passwordKey) }}
{{- end }}{{ end }}
{{- with .root.Values.cql.credentials }}{{ if .secretName }}
{{ include "wardline.env.secret" (list "WARDLINE__STORE__CQL__USERNAME" .secretName .usernameKey) }}
{{ include "wardline.env.secret" (list "WARDLINE__STORE__CQL__PASSWORD" .secretName .passwordKey) }}
{{- end }}{{ end }}
{{- with .root.Values.cursorKey }}{{ if .secretName }}
{{ include "wardline.env.secret" (list "WARDLINE__QUERY__CURSOR_KEY" .secretName .key) }}
{{- end }}{{ end }}
{{- if eq .component "registry" }}{{ with .root.Values.devices }}
{{- if .tokenKey.secretName }}
- {name: WARDLINE__DEVICES__TOKEN_KEY_FILE, value: {{ printf "/etc/wardline/device-tokens/%s" .tokenKey.key | quote }}}
{{- end }}
{{- if .ca.secretName }}
- {name: WARDLINE__DEVICES__CA_CERT_FILE, value: {{ printf "/etc/wardline/device-ca/%s" .ca.certKey | quote }}}
- {name: WARDLINE__DEVICES__CA_KEY_FILE, value: {{ printf "/etc/wardline/device-ca/%s" .ca.keyKey | quote }}}
{{- end }}
{{- end }}{{ end }}
{{- /* Reports take memory and give it back all the while: in large pages that are kept for longer they are done in two thirds of the time. */}}
{{- if eq .component "analytics" }}
- {name: _RJEM_MALLOC_CONF, value: "thp:always,dirty_decay_ms:10000"}
{{- end }}
{{- range .root.Values.secretEnv }}
{{ include "wardline.env.secret" (list .name .secretName .key) }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "wardline.env.secret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef: {name: {{ index . 1 | quote }}, key: {{ index . 2 | quote }}}
{{- end -}}

{{- /* Argument: dict "root" $ "component" name "config" name of the ConfigMap. */ -}}
{{- define "wardline.volumes" -}}
- name: config
  configMap: {name: {{ .config }}, defaultMode: 0444}
{{- with .root.Values.kafka.tls.secretName }}
- name: kafka-tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .root.Values.cql.tls.secretName }}
- name: cql-tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .root.Values.tls.secretName }}
- name: tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .root.Values.tls.clientCa.secretName }}
- name: client-ca
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .root.Values.auth.keysConfigMap }}
- name: issuers
  configMap: {name: {{ . | quote }}, defaultMode: 0444}
{{- end }}
{{- if has .component (list "query" "analytics") }}
{{- with .root.Values.study.secretName }}
- name: study
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- if eq .component "registry" }}
{{- with .root.Values.devices.tokenKey.secretName }}
- name: device-tokens
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .root.Values.devices.ca.secretName }}
- name: device-ca
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- with .root.Values.directory.secretName }}
- name: directory
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
- name: audit
{{- if .root.Values.audit.claimName }}
  persistentVolumeClaim: {claimName: {{ .root.Values.audit.claimName | quote }}}
{{- else }}
  emptyDir: {}
{{- end }}
{{- if eq .component "analytics" }}
- name: analytics
{{- if .root.Values.analytics.claimName }}
  persistentVolumeClaim: {claimName: {{ .root.Values.analytics.claimName | quote }}}
{{- else if .root.Values.services.analytics.replicas }}
{{- fail "analytics.claimName: name a PersistentVolumeClaim, or set services.analytics.replicas to 0" }}
{{- else }}
  emptyDir: {}
{{- end }}
{{- end }}
{{- if eq .component "archive" }}
- name: archive
{{- if .root.Values.archive.claimName }}
  persistentVolumeClaim: {claimName: {{ .root.Values.archive.claimName | quote }}}
{{- else if and .root.Values.services.archive.replicas (not .root.Values.archive.bucket.name) }}
{{- fail "archive.claimName: name a PersistentVolumeClaim, or archive.bucket.name a bucket, or set services.archive.replicas to 0" }}
{{- else }}
  emptyDir: {}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Argument: dict "root" $ "component" name. */ -}}
{{- define "wardline.mounts" -}}
- {name: config, mountPath: /etc/wardline/wardline.toml, subPath: wardline.toml, readOnly: true}
{{- if .root.Values.kafka.tls.secretName }}
- {name: kafka-tls, mountPath: /etc/wardline/kafka-tls, readOnly: true}
{{- end }}
{{- if .root.Values.cql.tls.secretName }}
- {name: cql-tls, mountPath: /etc/wardline/cql-tls, readOnly: true}
{{- end }}
{{- if .root.Values.tls.secretName }}
- {name: tls, mountPath: /etc/wardline/tls, readOnly: true}
{{- end }}
{{- if .root.Values.tls.clientCa.secretName }}
- {name: client-ca, mountPath: /etc/wardline/client-ca, readOnly: true}
{{- end }}
{{- if .root.Values.auth.keysConfigMap }}
- {name: issuers, mountPath: /etc/wardline/issuers, readOnly: true}
{{- end }}
{{- if and (has .component (list "query" "analytics")) .root.Values.study.secretName }}
- {name: study, mountPath: /etc/wardline/study, readOnly: true}
{{- end }}
{{- if eq .component "registry" }}
{{- if .root.Values.devices.tokenKey.secretName }}
- {name: device-tokens, mountPath: /etc/wardline/device-tokens, readOnly: true}
{{- end }}
{{- if .root.Values.devices.ca.secretName }}
- {name: device-ca, mountPath: /etc/wardline/device-ca, readOnly: true}
{{- end }}
{{- end }}
{{- if .root.Values.directory.secretName }}
- {name: directory, mountPath: /etc/wardline/directory, readOnly: true}
{{- end }}
- {name: audit, mountPath: /var/lib/wardline/audit}
{{- if eq .component "analytics" }}
- {name: analytics, mountPath: /var/lib/wardline/analytics}
{{- end }}
{{- if eq .component "archive" }}
- {name: archive, mountPath: /var/lib/wardline/archive}
{{- end }}
{{- end -}}
