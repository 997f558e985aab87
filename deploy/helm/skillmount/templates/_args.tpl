{{/* A flag with a number; nothing for null. Helm reads numbers of a file as floats. */}}
{{- define "skillmount.number" -}}
{{- $flag := index . 0 -}}{{- $value := index . 1 -}}
{{- if not (kindIs "invalid" $value) }}
- {{ printf "%s=%d" $flag (int64 $value) }}
{{- end -}}
{{- end }}

{{/* A flag with a text; nothing for null and for the empty text. */}}
{{- define "skillmount.text" -}}
{{- $flag := index . 0 -}}{{- $value := index . 1 -}}
{{- if $value }}
- {{ printf "%s=%s" $flag $value | quote }}
{{- end -}}
{{- end }}

{{/* A flag for each text of a list. */}}
{{- define "skillmount.list" -}}
{{- $flag := index . 0 -}}
{{- range index . 1 }}
- {{ printf "%s=%s" $flag . | quote }}
{{- end -}}
{{- end }}

{{/* What `skillmount node` is called with. */}}
{{- define "skillmount.args" -}}
- node
- --endpoint=unix:///csi/csi.sock
- --state-dir=/var/lib/skillmount
- --registration-dir=/registration
{{- with .Values.http }}{{- if .enabled }}
- {{ printf "--http-endpoint=:%d" (int64 .port) }}
{{- end }}{{- end }}
{{- include "skillmount.text" (list "--log-format" .Values.logging.format) }}
{{- include "skillmount.text" (list "--log-level" .Values.logging.level) }}
{{- if ne .Values.driverName "csi.skillmount.dev" }}
{{- include "skillmount.text" (list "--driver-name" .Values.driverName) }}
{{- end }}
{{- if not (kindIs "invalid" .Values.selinuxLabel) }}
- {{ printf "--selinux-label=%s" .Values.selinuxLabel | quote }}
{{- end }}
{{- with .Values.registry }}
{{- include "skillmount.list" (list "--plain-http" .plainHttp) }}
{{- with .registriesConf }}
- {{ printf "--registries-conf=/etc/skillmount/registries/%s" (base .) | quote }}
{{- end }}
{{- include "skillmount.list" (list "--mirror-credentials" .mirrorCredentials) }}
{{- range .ca.files }}
- {{ printf "--ca-file=/etc/skillmount/ca/%s" . | quote }}
{{- end }}
{{- include "skillmount.number" (list "--connect-timeout" .connectTimeout) }}
{{- include "skillmount.number" (list "--read-timeout" .readTimeout) }}
{{- include "skillmount.number" (list "--low-speed-limit" .lowSpeedLimit) }}
{{- include "skillmount.number" (list "--low-speed-time" .lowSpeedTime) }}
{{- include "skillmount.number" (list "--max-manifest-bytes" .maxManifestBytes) }}
{{- end }}
{{- range $index, $source := .Values.nodeCredentials }}
- {{ printf "--node-credentials=/etc/skillmount/credentials/%d/%s" $index $source.file | quote }}
{{- end }}
{{- with .Values.secretAccess }}
{{- if not (kindIs "invalid" .imagePullSecrets) }}
- {{ printf "--image-pull-secrets=%t" .imagePullSecrets }}
{{- end }}
{{- with .kubeconfig }}
- {{ printf "--kubeconfig=/etc/skillmount/kubeconfig/%s" .file | quote }}
{{- end }}
{{- end }}
{{- with .Values.credentials }}
{{- include "skillmount.text" (list "--credentials-verification-policy" .verificationPolicy) }}
{{- include "skillmount.list" (list "--verify-allow" .verifyAllow) }}
{{- end }}
{{- with .Values.pull }}
{{- include "skillmount.number" (list "--max-concurrent-pulls" .maxConcurrent) }}
{{- include "skillmount.number" (list "--max-concurrent-downloads" .maxConcurrentDownloads) }}
{{- include "skillmount.number" (list "--max-staging-bytes" .maxStagingBytes) }}
{{- include "skillmount.number" (list "--pull-timeout" .timeout) }}
{{- include "skillmount.number" (list "--pull-backoff" .backoff) }}
{{- if not (kindIs "invalid" .refuseStatus) }}
- {{ printf "--refuse-status=%s" (join "," .refuseStatus) | quote }}
{{- end }}
{{- end }}
{{- with .Values.limits }}
{{- include "skillmount.number" (list "--max-layers" .layers) }}
{{- include "skillmount.number" (list "--max-entries" .entries) }}
{{- include "skillmount.number" (list "--max-file-bytes" .fileBytes) }}
{{- include "skillmount.number" (list "--max-unpacked-bytes" .unpackedBytes) }}
{{- include "skillmount.number" (list "--max-ratio" .ratio) }}
{{- include "skillmount.number" (list "--max-depth" .depth) }}
{{- include "skillmount.number" (list "--max-skill-md-bytes" .skillMdBytes) }}
{{- include "skillmount.number" (list "--max-zstd-window-log" .zstdWindowLog) }}
{{- end }}
{{- with .Values.gc }}
{{- include "skillmount.number" (list "--gc-high-threshold" .highThreshold) }}
{{- include "skillmount.number" (list "--gc-low-threshold" .lowThreshold) }}
{{- include "skillmount.number" (list "--gc-min-age" .minAge) }}
{{- include "skillmount.number" (list "--gc-max-age" .maxAge) }}
{{- include "skillmount.number" (list "--gc-max-bytes" .maxBytes) }}
{{- end }}
{{- include "skillmount.number" (list "--scrub-interval" .Values.scrubInterval) }}
{{- include "skillmount.number" (list "--stop-grace" .Values.stopGrace) }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
