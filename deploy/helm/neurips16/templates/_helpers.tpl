{{- define "neurips16.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "neurips16.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "neurips16.labels" -}}
{{ include "neurips16.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "neurips16.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "neurips16.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "neurips16.image" -}}
{{- printf "%s@%s" .Values.image.repository (required "image.digest is empty: push the image, and give the digest that the registry names (sha256:...)" .Values.image.digest) }}
{{- end }}

{{/* The command line of tritonserver. */}}
{{- define "neurips16.arguments" -}}
{{- with .Values.server }}
- --model-repository=/models
- --exit-timeout-secs={{ .exitTimeoutSeconds }}
- --metrics-config=summary_latencies=true
- --backend-config=onnxruntime,enable-global-threadpool=1
- --backend-config=onnxruntime,intra_op_thread_count={{ .threads }}
- --backend-config=onnxruntime,inter_op_thread_count=1
- --grpc-address=0.0.0.0
- --grpc-port=8001
{{- if .connectionAgeSeconds }}
- --grpc-max-connection-age={{ mul .connectionAgeSeconds 1000 }}
- --grpc-max-connection-age-grace={{ mul .connectionGraceSeconds 1000 }}
{{- end }}
{{- end }}
{{- if not .Values.tls.insecurePlaintext }}
- --grpc-use-ssl=true
- --grpc-use-ssl-mutual={{ .Values.tls.mutual }}
- --grpc-server-cert=/etc/neurips16/tls/tls.crt
- --grpc-server-key=/etc/neurips16/tls/tls.key
{{- if .Values.tls.mutual }}
- --grpc-root-cert=/etc/neurips16/tls/ca.crt
{{- end }}
{{- end }}
- --grpc-restricted-protocol=model-repository,shared-memory,trace,logging:neurips16-admin=$(NEURIPS16_ADMIN_TOKEN)
# HTTP knows no TLS: it answers the probes, and the rest to nobody but the admin.
- --http-address=0.0.0.0
- --http-port=8000
- --http-restricted-api=metadata,inference,model-config,statistics,model-repository,shared-memory,trace,logging:neurips16-admin=$(NEURIPS16_ADMIN_TOKEN)
- --metrics-address=0.0.0.0
- --metrics-port=8002
{{- if not .Values.gpu.count }}
- --allow-gpu-metrics=false
{{- end }}
{{- with .Values.server.extraArguments }}
{{ toYaml . }}
{{- end }}
{{- end }}
