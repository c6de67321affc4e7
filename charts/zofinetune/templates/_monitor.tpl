{{/* How Prometheus scrapes one port. Takes the values of a monitor. */}}
{{- define "zofinetune.scrape" -}}
- port: metrics
  path: /metrics
  {{- with .interval }}
  interval: {{ . | quote }}
  {{- end }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . | quote }}
  {{- end }}
  {{- with .relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Labels that the operator puts on the pods of every run (zo_operator/names.py). */}}
{{- define "zofinetune.runPodLabels" -}}
app.kubernetes.io/component: runtime
app.kubernetes.io/managed-by: zofinetune
{{- end -}}
