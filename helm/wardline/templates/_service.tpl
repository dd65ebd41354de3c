{{- /* All objects of one service. Argument: dict "root" $ "component" name. */ -}}
{{- define "wardline.service" -}}
{{- $values := index .root.Values.services .component -}}
{{- $fullname := include "wardline.fullname" .root -}}
{{- $name := printf "%s-%s" $fullname .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels:
    {{- include "wardline.labels" . | nindent 4 }}
spec:
  replicas: {{ $values.replicas }}
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels:
      {{- include "wardline.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "wardline.labels" . | nindent 8 }}
      annotations:
        checksum/config: {{ include "wardline.config.toml" .root | sha256sum }}
        {{- with .root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "wardline.pod" (dict "root" .root "component" .component "config" $fullname) | nindent 6 }}
      terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: {{ .root.Values.topologyKey }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "wardline.selector" . | nindent 14 }}
      containers:
        - name: {{ .component }}
          {{- include "wardline.container" (dict "root" .root "component" .component "args" (list "run" "--service" .component) "resources" $values.resources) | nindent 10 }}
          ports:
            - {name: grpc, containerPort: 50051}
            - {name: api, containerPort: 8080}
            - {name: http, containerPort: 9464}
          startupProbe: # of the process only: Kafka and the store may come later, readiness tells
            httpGet: {path: /live, port: http}
            periodSeconds: 1
            failureThreshold: 60
          livenessProbe: # checks the process only
            httpGet: {path: /live, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
          readinessProbe:
            httpGet: {path: /ready, port: http}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          {{- with int .root.Values.preStopSleepSeconds }}
          lifecycle:
            preStop: {sleep: {seconds: {{ . }}}}
          {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels:
    {{- include "wardline.labels" . | nindent 4 }}
  {{- with ($values.service).annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ ($values.service).type | default "ClusterIP" }}
  selector:
    {{- include "wardline.selector" . | nindent 4 }}
  ports:
    {{- include "wardline.grpcPort" .root | nindent 4 }}
    - {name: api, port: 8080, targetPort: api, appProtocol: http}
{{- if $values.headless }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-headless
  labels:
    {{- include "wardline.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "wardline.selector" . | nindent 4 }}
  ports:
    {{- include "wardline.grpcPort" .root | nindent 4 }}
{{- end }}
{{- if gt (int $values.replicas) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels:
    {{- include "wardline.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "wardline.selector" . | nindent 6 }}
{{- end }}
{{- with .root.Values.networkPolicy }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $name }}
  labels:
    {{- include "wardline.labels" $ | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "wardline.selector" $ | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: grpc}]
      {{- with .grpcFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    - ports: [{port: api}]
      {{- with .apiFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    - ports: [{port: http}]
      {{- with .metricsFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- end }}
{{- end -}}
