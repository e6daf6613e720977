{{/* An alert with what the values say of it: list of the rule and its values. */}}
{{- define "ser.alert" -}}
{{- $rule := index . 0 -}}
{{- $given := index . 1 -}}
{{- with $given.for }}{{ $_ := set $rule "for" . }}{{ end -}}
{{- with $given.severity }}{{ $_ := set $rule.labels "severity" . }}{{ end -}}
{{- with $given.threshold -}}
{{- $shipped := regexFind "# threshold: [0-9.]+" $rule.expr | trimPrefix "# threshold: " | regexQuoteMeta -}}
{{- $_ := set $rule "expr" (regexReplaceAll (printf "(^|[^0-9.])%s(s?)\\b" $shipped) $rule.expr (printf "${1}%s${2}" (toJson .))) -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
