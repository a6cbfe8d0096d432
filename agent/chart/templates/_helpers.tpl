{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluice.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* How long a pod may take to end: sessions drain, then the next agent takes over (standby.go). */}}
{{- define "sluice.grace" -}}
{{- $drain := "20s" -}}
{{- with .Values.agent.kubernetes }}{{ $drain = .drain | default "20s" }}{{ end -}}
{{- if hasSuffix "m" $drain }}{{ add (mul (trimSuffix "m" $drain | int) 60) 140 }}{{ else }}{{ add (trimSuffix "s" $drain | int) 140 }}{{ end -}}
{{- end }}

{{/* What a container of ours may do and see. Each capability has its reason in docs/kubernetes.md. */}}
{{- define "sluice.security" -}}
{{- if .Values.privileged }}
privileged: true
{{- else }}
allowPrivilegeEscalation: true # the proxy changes its account, and gives up everything
capabilities:
  drop: [ALL]
  add: [BPF, PERFMON, NET_ADMIN, NET_RAW, SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH, DAC_OVERRIDE, SETUID, SETGID, SETPCAP, KILL, CHOWN, FOWNER]
appArmorProfile: {type: Unconfined}
seccompProfile: {type: Unconfined}
{{- end }}
readOnlyRootFilesystem: true
runAsUser: 0
runAsGroup: 0
{{- end }}

{{- define "sluice.mounts" -}}
- {name: config, mountPath: /etc/sluice, readOnly: true}
- {name: state, mountPath: {{ .Values.stateDir }}}
- {name: run, mountPath: /run/sluice}
- {name: bpf, mountPath: /sys/fs/bpf, mountPropagation: HostToContainer}
- {name: cgroup, mountPath: /sys/fs/cgroup, mountPropagation: HostToContainer}
{{- end }}

{{- define "sluice.volumes" -}}
- {name: config, configMap: {name: {{ .Release.Name }}-config}}
- {name: state, hostPath: {path: {{ .Values.stateDir }}, type: DirectoryOrCreate}}
- {name: run, hostPath: {path: /run/sluice, type: DirectoryOrCreate}}
- {name: bpf, hostPath: {path: /sys/fs/bpf, type: Directory}}
- {name: cgroup, hostPath: {path: /sys/fs/cgroup, type: Directory}}
{{- end }}
