{{/* Name of the policies on what the operator makes. They belong to no namespace, and two releases may have one name in different namespaces. */}}
{{- define "ser.jobPolicy" -}}
{{ include "ser.fullname" . }}.{{ .Release.Namespace }}
{{- end -}}
{{- define "ser.servicePolicy" -}}
{{ include "ser.jobPolicy" . }}.services
{{- end -}}

{{/* Whose requests the policies judge: those with the operator's token. */}}
{{- define "ser.judged" -}}
- name: operator
  expression: request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "ser.serviceAccount" . }}'
{{- end -}}

{{/* CEL, quoted: a run controls the object. */}}
{{- define "ser.ofARun" -}}
{{- "object.metadata.?ownerReferences.orValue([]).exists(one, one.kind == 'SERRun' && one.apiVersion.startsWith('ser.dev/') && one.?controller.orValue(false))" | quote -}}
{{- end -}}

{{/* JSON of the lists of allow, each under its own key; of one that is left out the operator's own, as in ser_operator/allow.py. */}}
{{- define "ser.lists" -}}
{{- $allow := include "ser.allow" . | fromJson }}
{{- $lists := dict
  "secrets" (list "ser-*")
  "priorityClasses" (list "*" "!system-*")
  "queues" (list "*")
  "tolerations" (list "*" "!node-role.kubernetes.io/control-plane" "!node-role.kubernetes.io/master")
  "nodeSelectors" (list "*") }}
{{- range $name, $patterns := $lists }}
{{- if hasKey $allow $name }}{{ $lists = set $lists $name (get $allow $name) }}{{ end }}
{{- end }}
{{- $template := $allow.podTemplate | default dict }}
{{- range $name := list "labels" "annotations" "volumes" "serviceAccounts" "runtimeClasses" "schedulers" "affinity" "topologyKeys" "resourceClaims" "resources" }}
{{- $lists = set $lists $name (get $template $name | default list) }}
{{- end }}
{{- toJson $lists }}
{{- end -}}

{{/* CEL for the regular expression of shell patterns, of which ! forbids, in any case: list of the patterns and whether those with ! are wanted. */}}
{{- define "ser.expression" -}}
{{- $alternatives := list -}}
{{- range $pattern := index . 0 -}}
{{- if eq (hasPrefix "!" $pattern) (index $ 1) -}}
{{- $quoted := trimPrefix "!" $pattern | regexQuoteMeta | replace "\\*" ".*" | replace "\\?" "." | replace "\\{namespace\\}" "{namespace}" -}}
{{- $quoted = regexReplaceAll "\\\\\\[!(.+?)\\\\\\]" $quoted "[^${1}]" -}}
{{- $alternatives = append $alternatives (regexReplaceAll "\\\\\\[(.+?)\\\\\\]" $quoted "[${1}]") -}}
{{- end -}}
{{- end -}}
{{- $text := printf "%s^(%s)$" (ternary "(?i)" "" (index . 1)) (join "|" $alternatives) -}}
{{- printf "%s.replace('{namespace}', request.namespace)" (toJson $text) | toJson -}}
{{- end -}}

{{/* CEL for whether a value matches a list: the value's own CEL, and the list's name. */}}
{{- define "ser.listed" -}}
({{ index . 0 }}.matches(variables.{{ index . 1 }}Allowed) && !{{ index . 0 }}.matches(variables.{{ index . 1 }}Forbidden))
{{- end -}}
