{{/* Name of the policy on the operator's Jobs. It belongs to no namespace, and two releases may have one name in different namespaces. */}}
{{- define "ser.jobPolicy" -}}
{{ include "ser.fullname" . }}.{{ .Release.Namespace }}
{{- end -}}

{{/* CEL for the regular expression of shell patterns, of which ! forbids: list of the patterns and whether those with ! are wanted. */}}
{{- define "ser.expression" -}}
{{- $alternatives := list -}}
{{- range $pattern := index . 0 -}}
{{- if eq (hasPrefix "!" $pattern) (index $ 1) -}}
{{- $quoted := trimPrefix "!" $pattern | regexQuoteMeta | replace "\\*" ".*" | replace "\\?" "." | replace "\\{namespace\\}" "{namespace}" -}}
{{- $quoted = regexReplaceAll "\\\\\\[!(.+?)\\\\\\]" $quoted "[^${1}]" -}}
{{- $alternatives = append $alternatives (regexReplaceAll "\\\\\\[(.+?)\\\\\\]" $quoted "[${1}]") -}}
{{- end -}}
{{- end -}}
{{- printf "%s.replace('{namespace}', request.namespace)" (toJson (printf "^(%s)$" (join "|" $alternatives))) | toJson -}}
{{- end -}}
