{{/* Name of everything in the release's namespace. */}}
{{- define "ser.fullname" -}}
{{- $name := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name)) -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the operator's ServiceAccount. */}}
{{- define "ser.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "ser.fullname" .) -}}
{{- end -}}

{{/* The labels that never change. */}}
{{- define "ser.selector" -}}
app.kubernetes.io/name: ser-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "ser.ownLabels" -}}
{{ include "ser.selector" . }}
app.kubernetes.io/part-of: ser-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of everything: the chart's, and those of the values beside them. */}}
{{- define "ser.labels" -}}
{{- merge (include "ser.ownLabels" . | fromYaml) (.Values.commonLabels | default dict) | toYaml -}}
{{- end -}}

{{/* What the level restricted of the Pod Security Standards asks of a pod, and over it the values. */}}
{{- define "ser.podSecurityContext" -}}
{{- $restricted := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- mergeOverwrite $restricted (.Values.podSecurityContext | default dict) | toYaml -}}
{{- end -}}

{{/* The same of a container, with a root that nobody can write to. */}}
{{- define "ser.securityContext" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- mergeOverwrite $restricted (.Values.securityContext | default dict) | toYaml -}}
{{- end -}}

{{/* JSON {"names": […]} of the namespaces that runs live in. */}}
{{- define "ser.namespaces" -}}
{{- dict "names" (.Values.watchNamespaces | default (list .Release.Namespace)) | toJson -}}
{{- end -}}

{{/* Reference of an image: list of its values and the chart's appVersion. */}}
{{- define "ser.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 1) }}
{{- end -}}
{{- end -}}

{{/* Exactly what operator/rbac.yaml grants. */}}
{{- define "ser.rules" -}}
- {apiGroups: [ser.dev], resources: [serruns], verbs: [get, list, watch]}
- {apiGroups: [ser.dev], resources: [serruntemplates], verbs: [get]}
- {apiGroups: [ser.dev], resources: [serruns/status], verbs: [patch]}
- {apiGroups: [ser.dev], resources: [serruns/finalizers], verbs: [update]}
- {apiGroups: [batch], resources: [jobs], verbs: [get, list, watch, create, delete]}
- {apiGroups: [""], resources: [pods], verbs: [list, watch]}
- {apiGroups: [""], resources: [services], verbs: [get, create]}
- {apiGroups: [""], resources: [events], verbs: [list, create]}
- {apiGroups: [kueue.x-k8s.io], resources: [workloads], verbs: [list]}
{{- end -}}

{{/* Ports of a NetworkPolicy: list of numbers and protocols. */}}
{{- define "ser.ports" -}}
{{- $ports := list -}}
{{- range $port := index . 0 -}}
{{- range $protocol := index $ 1 -}}
{{- $ports = append $ports (dict "port" $port "protocol" $protocol) -}}
{{- end -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}
