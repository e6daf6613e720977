{{/* Settings of the operator as environment variables. Lists go by commas, structures as JSON. */}}
{{- define "ser.environment" -}}
{{- $pullSecrets := list }}
{{- range .Values.imagePullSecrets }}{{ $pullSecrets = append $pullSecrets .name }}{{ end -}}
- name: SER_OPERATOR_IMAGE
  value: {{ include "ser.image" (list .Values.stages.image .Chart.AppVersion) | quote }}
- name: SER_OPERATOR_NAMESPACES
  value: {{ .Values.clusterWide | ternary "" (join "," (include "ser.namespaces" . | fromJson).names) | quote }}
- name: SER_OPERATOR_OPERATOR_CLASS
  value: {{ .Values.operatorClass | quote }}
- name: SER_OPERATOR_SERVICE_ACCOUNT
  value: {{ .Values.stages.serviceAccount.name | quote }}
- name: SER_OPERATOR_IMAGE_PULL_SECRETS
  value: {{ join "," $pullSecrets | quote }}
- name: SER_OPERATOR_SECURITY_CONTEXT
  value: {{ toJson (.Values.stages.securityContext | default dict) | quote }}
- name: SER_OPERATOR_GPU_NODE_SELECTOR
  value: {{ toJson .Values.stages.gpu.nodeSelector | quote }}
- name: SER_OPERATOR_GPU_TOLERATIONS
  value: {{ toJson .Values.stages.gpu.tolerations | quote }}
- name: SER_OPERATOR_DEFAULT_QUEUE
  value: {{ .Values.stages.defaultQueue | quote }}
- name: SER_OPERATOR_QUEUE_CPU_STAGES
  value: {{ .Values.stages.queueCpuStages | quote }}
{{- range $name, $value := .Values.settings }}
- name: SER_OPERATOR_{{ snakecase $name | upper }}
  value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else }}{{ int $value | quote }}{{ end }}
{{- end }}
{{- end -}}
