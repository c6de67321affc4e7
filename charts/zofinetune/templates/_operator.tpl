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

{{- define "zofinetune.healthPort" -}}8080{{- end -}}

{{- define "zofinetune.operatorVolumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- end -}}

{{- define "zofinetune.operatorVolumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- end -}}

{{/* Spread constraints; one without a label selector is about the operator's own pods. */}}
{{- define "zofinetune.spread" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "zofinetune.selectorLabels" . | fromYaml)) -}}
{{- $all := list -}}
{{- range .Values.topologySpreadConstraints }}{{ $all = append $all (merge dict . $own) }}{{ end -}}
{{- toYaml $all -}}
{{- end -}}
