#!/bin/sh
# Starts nginx with the arguments given, after writing whose X-Forwarded-For and X-Forwarded-Proto it believes:
# SIGAP_TRUSTED_PROXIES, addresses or networks (10.0.0.0/8) with commas between them; empty for nobody's.
set -eu
set -f # A * in the setting is no file.

proxies="$(printf '%s' "${SIGAP_TRUSTED_PROXIES:-}" | tr ',' ' ')"
for proxy in $proxies; do
  case "$proxy" in
    *[!0-9A-Fa-f.:/]*)
      printf 'SIGAP_TRUSTED_PROXIES holds "%s": expected addresses or networks, as 10.0.0.7 or 10.0.0.0/8, with commas between them.\n' "$proxy" >&2
      exit 2
      ;;
  esac
done

{
  for proxy in $proxies; do
    printf 'set_real_ip_from %s;\n' "$proxy"
  done
  printf 'geo $realip_remote_addr $trusted {\n    default 0;\n'
  for proxy in $proxies; do
    printf '    %s 1;\n' "$proxy"
  done
  printf '}\n'
} >/tmp/nginx-trusted.conf

exec nginx "$@"
