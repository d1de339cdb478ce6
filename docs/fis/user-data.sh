#!/bin/sh
# User data of an instance to try things with: a checkpoint hook that says what it would save. In the sandbox, an instance's
# configuration is not below /etc.
hooks=${SPOT_RESPONDER_CONFIG_DIR:-/etc/spot-responder}/checkpoint.d
mkdir -p "$hooks"
cat >"$hooks/10-save" <<'HOOK'
#!/bin/sh
echo "saved because of the $SPOT_RESPONDER_KIND, before $SPOT_RESPONDER_DEADLINE"
HOOK
chmod +x "$hooks/10-save"
