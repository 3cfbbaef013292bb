#!/usr/bin/env bash
# From a CI job: run deploy/server/deploy.sh on the server.
#
#   SSH_KEY=… KNOWN_HOSTS=… TARGET=user@host FOLDER=/srv/sigap deploy/server/over_ssh.sh COMMIT [options of deploy.sh]
#
# The key goes to an agent, never to a file or into the output; a host that KNOWN_HOSTS does not name is refused.
set -euo pipefail
for name in SSH_KEY KNOWN_HOSTS TARGET FOLDER; do
  [ -n "${!name:-}" ] || { echo "Refused: $name is not set." >&2; exit 2; }
done
# Both become words of the remote shell.
[[ "$TARGET" =~ ^[A-Za-z0-9._-]+@[A-Za-z0-9.:_-]+$ ]] || { echo "Refused: TARGET is not user@host." >&2; exit 2; }
[[ "$FOLDER" =~ ^/[A-Za-z0-9._/-]+$ ]] || { echo "Refused: FOLDER is no absolute path of plain characters." >&2; exit 2; }
for word in "$@"; do
  [[ "$word" =~ ^[A-Za-z0-9._:/-]+$ ]] || { echo "Refused: an argument has odd characters." >&2; exit 2; }
done
hosts="$(mktemp)"
eval "$(ssh-agent -s)" >/dev/null
trap 'ssh-agent -k >/dev/null; rm -f "$hosts"' EXIT
printf '%s\n' "$KNOWN_HOSTS" >"$hosts"
printf '%s\n' "$SSH_KEY" | ssh-add -q -
unset SSH_KEY
ssh -p "${PORT:-22}" -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$hosts" \
  -o GlobalKnownHostsFile=/dev/null -o ServerAliveInterval=30 "$TARGET" -- "$FOLDER/deploy/server/deploy.sh" "$@"
