{{/* What the operator may do in a namespace that it watches. It reads no Secret: pods get theirs by reference. */}}
{{- define "zofinetune.operatorRules" -}}
- apiGroups: [zofinetune.io]
  resources: [zofinetunes]
  verbs: [get, list, watch, patch]
- apiGroups: [zofinetune.io]
  resources: [zofinetunes/status]
  verbs: [get, patch]
# Owner references that block deletion need it where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [zofinetune.io]
  resources: [zofinetunes/finalizers]
  verbs: [update]
# Server-side apply asks for `create` as well as `patch` when the object is new.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* The lease that says which replica works; it stands in the release's namespace. */}}
{{- define "zofinetune.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update, patch]
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
