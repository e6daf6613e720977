{{/* JSON of what SERRuns may ask for: the values allow, and over them the earlier names of three of its lists. */}}
{{- define "ser.allow" -}}
{{- $allow := deepCopy (.Values.allow | default dict) }}
{{- range $earlier, $list := dict "allowedSecrets" "secrets" "allowedStorage" "write" "allowedEndpoints" "endpoints" }}
{{- $given := get $.Values.settings $earlier }}
{{- if kindIs "slice" $given }}{{ $allow = set $allow $list $given }}{{ end }}
{{- end }}
{{- toJson $allow }}
{{- end -}}

{{/* Settings of the operator as environment variables. Lists go by commas, structures as JSON. */}}
{{- define "ser.environment" -}}
{{- $pullSecrets := list }}
{{- range .Values.imagePullSecrets }}{{ $pullSecrets = append $pullSecrets .name }}{{ end -}}
- name: SER_OPERATOR_IMAGE
  value: {{ include "ser.image" (list .Values.stages.image .Chart.AppVersion) | quote }}
- name: SER_OPERATOR_NAMESPACES
  value: {{ .Values.clusterWide | ternary "" (join "," (include "ser.namespaces" . | fromJson).names) | quote }}
- name: SER_OPERATOR_OPERATOR_CLASS
  value: {{ .Values.operatorClass | default "" | quote }}
- name: SER_OPERATOR_SERVICE_ACCOUNT
  value: {{ .Values.stages.serviceAccount.name | quote }}
- name: SER_OPERATOR_IMAGE_PULL_SECRETS
  value: {{ join "," $pullSecrets | quote }}
- name: SER_OPERATOR_SECURITY_CONTEXT
  value: {{ toJson (.Values.stages.securityContext | default dict) | quote }}
- name: SER_OPERATOR_ALLOW
  value: {{ include "ser.allow" . | quote }}
- name: SER_OPERATOR_STAGE_DEFAULTS
  value: {{ toJson (.Values.stages.defaults | default dict) | quote }}
- name: SER_OPERATOR_GPU_RESOURCE
  value: {{ .Values.stages.gpu.resource | default "nvidia.com/gpu" | quote }}
- name: SER_OPERATOR_GPU_NODE_SELECTOR
  value: {{ toJson (.Values.stages.gpu.nodeSelector | default dict) | quote }}
- name: SER_OPERATOR_GPU_TOLERATIONS
  value: {{ toJson (.Values.stages.gpu.tolerations | default list) | quote }}
- name: SER_OPERATOR_DEFAULT_QUEUE
  value: {{ .Values.stages.defaultQueue | default "" | quote }}
- name: SER_OPERATOR_QUEUE_CPU_STAGES
  value: {{ ne (toString .Values.stages.queueCpuStages) "false" | quote }}
{{- range $name, $value := omit .Values.settings "allowedSecrets" "allowedStorage" "allowedEndpoints" }}
- name: SER_OPERATOR_{{ snakecase $name | upper }}
  value: {{ int $value | quote }}
{{- end }}
{{- end -}}
