#!/usr/bin/env bash
# On a server: put a commit into service, and put the former one back when it does not come up healthy.
#
#   deploy/server/deploy.sh [--health URL] [--seconds N] [--every N] COMMIT
#
# Runs in a clone of this repository with Docker, Git, curl and flock. Fetches, checks the commit out, builds and starts
# it by `docker compose`, the API's processes one after the other, and asks for its health until it has answered well
# three times in a row.
#
#   --health URL   what is asked; left out, /health/ready at the address where compose has published nginx
#   --seconds N    how long it may take to become healthy: 600
#   --every N      seconds between two looks: 2
#
# Exit codes: 0 in service · 1 it was not healthy, the former commit serves again · 2 refused, nothing was changed ·
# 3 neither the commit nor the former one is healthy · 75 another deployment runs.
# Docker's output goes to .sigap/logs/deploy.log, what was decided also to .sigap/deployments.log.
set -uo pipefail

# Whoever started this may lose the line; what was begun is ended in order all the same.
trap '' HUP PIPE

say() {
  printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$record"
  printf '%s\n' "$*" || true
}

refuse() {
  printf 'Refused: %s\n' "$*" >&2 || true
  exit 2
}

bring_up() { # COMMIT
  git checkout --quiet --detach "$1" >>"$log" 2>&1 &&
    docker compose build >>"$log" 2>&1 &&
    api_in_turn >>"$log" 2>&1 &&
    docker compose up --detach --remove-orphans >>"$log" 2>&1 &&
    take_files >>"$log" 2>&1
}

api_in_turn() {
  # While one process of the API is exchanged, the other one answers. The tables come first, as in every start.
  [ -n "$(docker compose ps --quiet --status running api-1 api-2)" ] || return 0
  docker compose run --rm -T prepare </dev/null || return 1
  for process in api-1 api-2; do
    docker compose up --detach --no-deps --wait --wait-timeout "$seconds" "$process" || return 1
  done
}

take_files() {
  # Compose does not see that a file of a mounted folder is another one now. Each of these reads its files anew and
  # goes on; nginx says so when it can't use them.
  reload_nginx || return 1
  for service in $(docker compose ps --services --status running | grep -xE 'prometheus|alertmanager'); do
    docker compose kill --signal HUP "$service" || return 1
  done
}

reload_nginx() {
  # A commit from before this file mounts single files, and its nginx was started anew.
  [ -f deploy/nginx/start.sh ] || return 0
  # One that was started this moment has not said yet which process to tell.
  for _ in 1 2 3 4 5; do
    docker compose exec -T nginx nginx -c /etc/nginx/sigap/nginx.conf -s reload </dev/null && return 0
    sleep "$every"
  done
  return 1
}

address() {
  # Where nginx can be asked: what --health says, or what compose has published (SIGAP_HTTP_BIND, SIGAP_HTTP_PORT).
  local at
  [ -z "$health" ] || { printf '%s\n' "$health"; return; }
  at="$(docker compose port nginx 8080 2>>"$log" | head -n 1)"
  at="${at/#0.0.0.0:/127.0.0.1:}" at="${at/#"[::]:"/"[::1]:"}"
  [ -z "$at" ] || printf 'http://%s/health/ready\n' "$at"
}

containers() {
  docker compose ps --all --format '{{.Service}} {{.State}} {{.Health}} {{.ExitCode}}' 2>>"$log"
}

containers_fault() {
  # A replica that is down hides behind the load balancer, so containers are looked at too. A job that ended well is
  # none, and a first training that failed for one model is none either: whether the default model answers was asked.
  containers |
    awk '$2 == "exited" { if ($NF != 0 && $1 != "first-training") print $1 " ended with " $NF; next }
         $2 != "running" || $3 == "unhealthy" || $3 == "starting" { print $1 " is " $2 " " $3 }'
}

training_fault() {
  containers | awk '$1 == "first-training" && $2 == "exited" && $NF != 0 { print $NF }'
}

healthy() {
  local good=0 end=$((SECONDS + seconds)) fault="" asked
  while [ "$SECONDS" -lt "$end" ]; do
    asked="$(address)"
    if [ -z "$asked" ]; then
      good=0 fault="nginx listens nowhere"
    elif ! curl --silent --fail --output /dev/null --max-time 5 --noproxy '*' --globoff "$asked"; then
      good=0 fault="$asked does not answer well"
    else
      fault="$(containers_fault)"
      [ -z "$fault" ] && good=$((good + 1)) || good=0
    fi
    [ "$good" -ge 3 ] && return 0
    sleep "$every"
  done
  say "Not healthy after $seconds s: ${fault:-it answered well, but not three times in a row}"
  return 1
}

put_back() { # COMMIT FORMER
  # A second signal must not end this half way.
  trap '' TERM INT
  if [ "$2" = none ]; then
    say "$1 is not healthy, and there is no other commit to go back to. See $log."
    exit 3
  fi
  say "Putting $2 back"
  if bring_up "$2" && healthy; then
    say "$2 serves again; $1 was not healthy. See $log."
    exit 1
  fi
  say "Neither $1 nor $2 is healthy: a person has to look. See $log."
  exit 3
}

main() {
  local health="" seconds=600 every=2 commit="" former
  while [ $# -gt 0 ]; do
    case "$1" in
      --help | -h)
        sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
      --health | --seconds | --every)
        [ $# -ge 2 ] || refuse "$1 needs a value."
        case "$1" in
          --health) health="$2" ;;
          --seconds) seconds="$2" ;;
          --every) every="$2" ;;
        esac
        shift 2
        ;;
      -*) refuse "there is no option $1." ;;
      *)
        [ -z "$commit" ] || refuse "one commit is expected, found $commit and $1."
        commit="$1"
        shift
        ;;
    esac
  done
  [[ "$commit" =~ ^[0-9a-f]{40}$ ]] || refuse "expected a commit of 40 hexadecimal digits, found '$commit'."
  [[ "$seconds" =~ ^[0-9]+$ ]] || refuse "--seconds expects a whole number, found '$seconds'."
  [[ "$every" =~ ^[0-9]+(\.[0-9]+)?$ ]] || refuse "--every expects seconds, found '$every'."
  for program in docker git curl flock awk; do
    command -v "$program" >/dev/null || refuse "$program is not installed here."
  done
  cd "$(dirname "${BASH_SOURCE[0]}")/../.." || refuse "the repository's folder can't be entered."

  local log="$PWD/.sigap/logs/deploy.log" record="$PWD/.sigap/deployments.log" serving="$PWD/.sigap/deployed" training
  mkdir -p .sigap/logs || refuse ".sigap/ can't be written."
  exec 9>>.sigap/deploy.lock
  if ! flock --nonblock 9; then
    printf 'Another deployment runs on this server; try again when it has ended.\n' >&2
    exit 75
  fi
  [ -z "$(git status --porcelain --untracked-files=no)" ] ||
    refuse "files of the clone were changed by hand (git status); a deployment would lose them."
  git fetch --quiet --prune --tags origin >>"$log" 2>&1 || refuse "git fetch failed. See $log."
  git cat-file -e "$commit^{commit}" 2>/dev/null || refuse "there is no commit $commit in the repository it comes from."
  [ -n "$(git for-each-ref --contains "$commit" refs/remotes/origin refs/tags)" ] ||
    refuse "no branch or tag of the repository it comes from holds $commit."

  # The last commit seen healthy, not HEAD: a deployment that was killed half way leaves HEAD at what it never judged.
  former="$(cat "$serving" 2>/dev/null || git rev-parse HEAD)"
  git cat-file -e "$former^{commit}" 2>/dev/null && [ "$former" != "$commit" ] || former=none
  say "Deploying $commit; in service: $former"
  trap 'say "Interrupted"; put_back "$commit" "$former"' TERM INT
  if bring_up "$commit" && healthy; then
    trap '' TERM INT
    printf '%s\n' "$commit" >"$serving.part" && mv "$serving.part" "$serving"
    say "In service: $commit"
    training="$(training_fault)"
    [ -z "$training" ] ||
      say "The first training ended with $training: a model has no version yet. See docker compose logs first-training."
    exit 0
  fi
  put_back "$commit" "$former"
}

# Read whole before it runs, because the checkout replaces this very file.
main "$@"
