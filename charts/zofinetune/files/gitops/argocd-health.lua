-- Argo CD's health of a ZOFineTune. In the ConfigMap argocd-cm its key is
-- resource.customizations.health.zofinetune.io_ZOFineTune; docs/gitops.md says how it gets there.
local status = obj.status or {}
local states, messages, reasons = {}, {}, {}
for _, condition in ipairs(status.conditions or {}) do
  states[condition.type] = condition.status
  messages[condition.type] = condition.message
  reasons[condition.type] = condition.reason
end

local function health(word, message)
  return {status = word, message = message or ""}
end

if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not seen this generation yet")
end
local said = messages.Ready
if status.progress ~= nil and status.phase == "Running" then
  said = "round at " .. status.progress .. ": " .. (said or "")
end
-- Argo CD shows what waits for a person as suspended.
if reasons.Ready == "AwaitingApproval" then
  return health("Suspended", said)
end
if states.Reconciling == "True" then
  return health("Progressing", said)
end
if states.Stalled == "True" then
  return health("Degraded", messages.Stalled)
end
if states.Ready == "True" then
  return health("Healthy", said)
end
if states.Suspended == "True" then
  return health("Suspended", messages.Suspended)
end
return health("Progressing", said)
