{{- define "torana.labels" -}}
{app.kubernetes.io/name: torana, app.kubernetes.io/instance: {{ .Release.Name | quote }}}
{{- end }}
