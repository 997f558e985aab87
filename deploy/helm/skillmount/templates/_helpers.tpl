{{/* The labels of deploy/kustomize/base, and Helm's own. */}}
{{- define "skillmount.labels" -}}
app.kubernetes.io/name: skillmount
app.kubernetes.io/part-of: skillmount
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What the driver's pods are found by. It can never change, so it has nothing of the release. */}}
{{- define "skillmount.selector" -}}
app.kubernetes.io/name: skillmount
app.kubernetes.io/component: node
{{- end }}

{{- define "skillmount.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Where kubelet has the driver's socket. */}}
{{- define "skillmount.pluginDir" -}}
{{ .Values.kubeletDir }}/plugins/{{ .Values.driverName }}
{{- end }}

{{/* What the container asks for and may take; with a memory limit of null, as kustomize has it. */}}
{{- define "skillmount.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- with $resources -}}
{{- /* Helm may leave a null out, and then limits are an empty map. */ -}}
{{- if and (kindIs "map" .limits) (kindIs "invalid" .limits.memory) -}}
{{- $_ := set .limits "memory" (ternary "512Mi" "256Mi" (not (empty $.Values.credentialProviders.config))) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}

{{/* Combinations that cannot work, refused before anything is applied. */}}
{{- define "skillmount.check" -}}
{{- $kubelet := printf "%s/" .Values.kubeletDir -}}
{{- if hasPrefix $kubelet (printf "%s/" .Values.stateDir) -}}
{{- fail "stateDir must be outside of kubeletDir: kubelet deletes what it does not know" -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled (not .Values.http.enabled) -}}
{{- fail "podMonitor.enabled needs http.enabled: there is nothing to scrape" -}}
{{- end -}}
{{- $listed := eq "NeverVerifyAllowlistedImages" (default "" .Values.credentials.verificationPolicy) -}}
{{- if and .Values.credentials.verifyAllow (not $listed) -}}
{{- fail "credentials.verifyAllow needs credentials.verificationPolicy: NeverVerifyAllowlistedImages" -}}
{{- end -}}
{{- with .Values.credentialProviders -}}
{{- if ne (empty .config) (empty .binDir) -}}
{{- fail "credentialProviders.config and credentialProviders.binDir go together" -}}
{{- end -}}
{{- if and .files (not .config) -}}
{{- fail "credentialProviders.files needs credentialProviders.config: no program reads them" -}}
{{- end -}}
{{- end -}}
{{- $asks := or .Values.events.enabled (ne .Values.secretAccess.mode "none") -}}
{{- if and .Values.secretAccess.kubeconfig (not $asks) -}}
{{- fail "secretAccess.kubeconfig needs a secretAccess.mode or events.enabled: the API server is asked for nothing" -}}
{{- end -}}
{{- with .Values.csiDriver -}}
{{- $tokens := or .tokenRequests (eq $.Values.secretAccess.mode "pod-token") -}}
{{- if and .serviceAccountTokenInSecrets (not $tokens) -}}
{{- fail "csiDriver.serviceAccountTokenInSecrets needs csiDriver.tokenRequests or secretAccess.mode pod-token" -}}
{{- end -}}
{{- end -}}
{{- end }}
