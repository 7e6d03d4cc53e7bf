#!/bin/sh
# What docker-compose.yml starts EMQX with: it makes ready what emqx.conf cannot hold, then becomes EMQX.
set -eu

# The manager's key of the management API, for api_key.bootstrap_file. In memory, and for EMQX's user alone.
umask 077
printf '%s:administrator\n' "$OPENFLOW_EMQX_API_KEY" >/tmp/openflow-api-key
unset OPENFLOW_EMQX_API_KEY
umask 022

# MQTT over TLS and over WebSocket with TLS, once there is a certificate. The values are HOCON, hence the inner quotes.
crt=/etc/openflow/tls/mqtt.crt key=/etc/openflow/tls/mqtt.key
if [ -r "$crt" ] && [ -r "$key" ]; then
  for listener in SSL WSS; do
    export "EMQX_LISTENERS__${listener}__DEFAULT__ENABLE=true"
    export "EMQX_LISTENERS__${listener}__DEFAULT__SSL_OPTIONS__CERTFILE=\"$crt\""
    export "EMQX_LISTENERS__${listener}__DEFAULT__SSL_OPTIONS__KEYFILE=\"$key\""
    # Clients show a password, not a certificate.
    export "EMQX_LISTENERS__${listener}__DEFAULT__SSL_OPTIONS__VERIFY=verify_none"
  done
elif [ -e "$crt" ] || [ -e "$key" ]; then
  echo "no MQTT over TLS: $crt and $key must both be there and readable for user $(id -u)" >&2
fi

exec /opt/emqx/bin/emqx foreground
