{{/* A name of at most 50 characters, so that suffixes fit into 63. A longer one keeps its start and ends in a
     hash of the whole, so that two long names stay two. What Services refuse is mended: dots become dashes, and
     a digit does not come first. */}}
{{- define "zofinetune.shorten" -}}
{{- $name := regexReplaceAll "^([0-9])" . "zo-${1}" | replace "." "-" | trimSuffix "-" -}}
{{- if gt (len $name) 50 -}}
{{- printf "%s-%s" ($name | trunc 41 | trimSuffix "-") (. | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- define "zofinetune.name" -}}
{{- include "zofinetune.shorten" (default .Chart.Name .Values.nameOverride) -}}
{{- end -}}

{{- define "zofinetune.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- include "zofinetune.shorten" .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- include "zofinetune.shorten" .Release.Name -}}
{{- else -}}
{{- include "zofinetune.shorten" (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- end -}}

{{/* Name of cluster-wide objects: two releases of the same name in two namespaces must not meet. */}}
{{- define "zofinetune.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "zofinetune.fullname" .) -}}
{{- end -}}

{{/* Name of a role in a watched namespace: the full name, with the release's namespace in front of it where it is
     another one, so that two releases may watch the same namespace. Takes a dict: root, namespace. */}}
{{- define "zofinetune.roleName" -}}
{{- if eq .namespace .root.Release.Namespace -}}
{{- include "zofinetune.fullname" .root -}}
{{- else -}}
{{- include "zofinetune.clusterName" .root -}}
{{- end -}}
{{- end -}}

{{- define "zofinetune.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "zofinetune.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "zofinetune.selectorLabels" -}}
app.kubernetes.io/name: {{ include "zofinetune.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Labels of every object: the chart's own win over `commonLabels`, which cannot break selectors that way. */}}
{{- define "zofinetune.labels" -}}
{{- $own := include "zofinetune.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | toString) -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "zofinetune" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (merge dict $own .Values.commonLabels) -}}
{{- end -}}

{{/* `metadata` of one object. Takes a dict: root, name, and optionally namespace, labels, annotations. */}}
{{- define "zofinetune.metadata" -}}
{{- $labels := include "zofinetune.labels" .root | fromYaml -}}
{{- $annotations := merge dict (default dict .annotations) .root.Values.commonAnnotations -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- toYaml (merge dict $labels (default dict .labels)) | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* `repository@digest`, else `repository:tag`. Takes a dict: image, root. */}}
{{- define "zofinetune.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces of `rbac.scope: namespace`, as a JSON list. */}}
{{- define "zofinetune.namespaces" -}}
{{- toJson (default (list .Release.Namespace) (.Values.rbac.namespaces | uniq | sortAlpha)) -}}
{{- end -}}
