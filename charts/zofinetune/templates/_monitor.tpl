{{/* How Prometheus scrapes one port. Takes the values of a monitor; `port` is named `metrics` unless they say so. */}}
{{- define "zofinetune.scrape" -}}
- port: {{ default "metrics" .port }}
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

{{/* `namespaceSelector` of a monitor of pods: the namespaces that the operator watches. */}}
{{- define "zofinetune.watchedNamespaces" -}}
namespaceSelector:
  {{- if eq .Values.rbac.scope "cluster" }}
  any: true
  {{- else }}
  matchNames:
    {{- include "zofinetune.namespaces" . | fromJsonArray | toYaml | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Labels that the operator puts on the pods of every run (zo_operator/names.py). */}}
{{- define "zofinetune.runPodLabels" -}}
app.kubernetes.io/component: runtime
app.kubernetes.io/managed-by: zofinetune
{{- end -}}

{{/* `namespace` matchers of the watched namespaces; none where all are watched. */}}
{{- define "zofinetune.namespaceMatcher" -}}
{{- if ne .Values.rbac.scope "cluster" -}}
namespace=~{{ include "zofinetune.namespaces" . | fromJsonArray | join "|" | quote }}
{{- end -}}
{{- end -}}

{{/* The alerts of files/alerts.yaml with this release's values. Every resource's series carry the job of the
     operator that tells of it, so that two releases do not alert for each other. */}}
{{- define "zofinetune.alerts" -}}
{{- $job := printf "job=\"%s-metrics\"" (include "zofinetune.fullname" .) -}}
{{- $namespaces := include "zofinetune.namespaceMatcher" . -}}
{{- $words := dict
  "namespace" .Release.Namespace
  "operator" (printf "%s,namespace=\"%s\"" $job .Release.Namespace)
  "resources" (list $job $namespaces | compact | join ",")
  "pods" $namespaces -}}
{{- $text := .Files.Get "files/alerts.yaml" -}}
{{- range $word, $value := merge $words .Values.metrics.prometheusRule.thresholds -}}
{{- $text = replace (printf "<<%s>>" $word) ($value | toString) $text -}}
{{- end -}}
{{- $text -}}
{{- end -}}
