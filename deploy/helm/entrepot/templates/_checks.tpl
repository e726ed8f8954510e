{{- /* Ends the installation, and says what to do, where a value would not do what it seems to do. */ -}}
{{- define "entrepot.checks" -}}
{{- $config := .Values.config -}}
{{- range $path := list "database.url" "storage.s3.secretkey" "storage.s3.sessiontoken" "cdn.signing.secret" "cdn.purge.token" -}}
{{- $found := $config -}}
{{- range $key := splitList "." $path -}}
{{- if kindIs "map" $found -}}{{- $found = get $found $key -}}{{- else -}}{{- $found = "" -}}{{- end -}}
{{- end -}}
{{- if $found -}}
{{- fail (printf "config.%s is secret and would stand in a ConfigMap: move it to secret.variables.REGISTRY_%s" $path ($path | upper | replace "." "_")) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.secret.existingName .Values.secret.variables -}}
{{- fail "set secret.existingName or secret.variables, not both" -}}
{{- end -}}
{{- if and (not .Values.secret.existingName) (not (get .Values.secret.variables "REGISTRY_DATABASE_URL")) -}}
{{- fail "secret.variables.REGISTRY_DATABASE_URL must be set, or secret.existingName: several instances share a PostgreSQL" -}}
{{- end -}}
{{- $s3 := $config.storage.s3 -}}
{{- if not (and $s3 $s3.bucket $s3.region) -}}
{{- fail "config.storage.s3.bucket and config.storage.s3.region must be set: several instances share a bucket" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host must be set where ingress.enabled is" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) -}}
{{- fail "autoscaling.maxReplicas must not be less than autoscaling.minReplicas" -}}
{{- end -}}
{{- end -}}
