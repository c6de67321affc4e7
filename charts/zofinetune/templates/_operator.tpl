{{/* The chart's environment variables of the operator; `zo-operator --help` names them all. */}}
{{- define "zofinetune.operatorEnv" -}}
- name: ZO_OPERATOR_NAMESPACES
  {{- if eq .Values.rbac.scope "cluster" }}
  value: ""
  {{- else }}
  value: {{ include "zofinetune.namespaces" . | fromJsonArray | join "," | quote }}
  {{- end }}
- name: ZO_OPERATOR_RUNTIME_IMAGE
  value: {{ include "zofinetune.image" (dict "image" .Values.runtime.image "root" .) | quote }}
- name: ZO_OPERATOR_HEALTH_PORT
  value: {{ include "zofinetune.healthPort" . | quote }}
- name: ZO_OPERATOR_METRICS_PORT
  value: {{ .Values.metrics.port | quote }}
- name: ZO_OPERATOR_LOG_LEVEL
  value: {{ .Values.operator.logLevel | quote }}
- name: ZO_OPERATOR_LOG_FORMAT
  value: {{ .Values.operator.logFormat | quote }}
- name: ZO_OPERATOR_LEASE_NAME
  value: {{ include "zofinetune.fullname" . | quote }}
- name: ZO_OPERATOR_LEASE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: ZO_OPERATOR_IDENTITY
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end -}}

{{/* The chart's variables and the user's as one list, in which the user's replace the chart's of the same name. */}}
{{- define "zofinetune.env" -}}
{{- $taken := dict -}}
{{- range .Values.env }}{{ $_ := set $taken .name true }}{{ end -}}
{{- $all := list -}}
{{- range include "zofinetune.operatorEnv" . | fromYamlArray }}
{{- if not (hasKey $taken .name) }}{{ $all = append $all . }}{{ end }}
{{- end -}}
{{- toYaml (concat $all .Values.env) -}}
{{- end -}}

{{- define "zofinetune.healthPort" -}}8080{{- end -}}

{{/* Spread constraints; one without a label selector is about the operator's own pods. */}}
{{- define "zofinetune.spread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "zofinetune.selectorLabels" . | fromYaml)) -}}
{{- $all := list -}}
{{- range .Values.topologySpreadConstraints }}{{ $all = append $all (merge dict . $own) }}{{ end -}}
{{- toYaml $all -}}
{{- end -}}
