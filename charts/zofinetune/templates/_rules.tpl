{{/* What the operator may do in a namespace that it watches. It reads no Secret: pods get theirs by reference, and
     `rbac.apiKeySecrets` has roles of its own. */}}
{{- define "zofinetune.operatorRules" -}}
- apiGroups: [zofinetune.io]
  resources: [zofinetunes]
  verbs: [get, list, watch]
- apiGroups: [zofinetune.io]
  resources: [zofinetunes/status]
  verbs: [patch]
# Server-side apply asks for `create` as well as `patch` when the object is new.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* The Lease that says which replica works; it stands in the release's namespace. */}}
{{- define "zofinetune.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "zofinetune.fullname" . }}]
  verbs: [get, update]
{{- end -}}

{{/* What people may do, by role. Takes "admin", "editor" or "viewer". */}}
{{- define "zofinetune.userRules" -}}
- apiGroups: [zofinetune.io]
  resources: [zofinetunes]
  {{- if eq . "viewer" }}
  verbs: [get, list, watch]
  {{- else if eq . "editor" }}
  verbs: [get, list, watch, create, update, patch, delete]
  {{- else }}
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
  {{- end }}
- apiGroups: [zofinetune.io]
  resources: [zofinetunes/status]
  verbs: [get]
{{- end -}}
