#!/bin/sh
# Makes the passwords of the two database roles at the first start, and leaves them alone after that. Each role has
# a volume of its own, mounted only where the role is needed: the server never sees the owner's password.
#   password   what Postgres is given
#   url        the same as a DATABASE_URL
# The files can be read by the user of the image of Writ (node, 1000), the owner's by Postgres too; nobody writes them.
set -eu
umask 077

make_password() { # folder
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$1/password.new"
  mv "$1/password.new" "$1/password"
}

write_url() { # role folder group
  printf 'postgres://%s:%s@postgres:5432/writ\n' "$1" "$(cat "$2/password")" >"$2/url.new"
  mv "$2/url.new" "$2/url"
  chown "1000:$3" "$2/password" "$2/url"
  chmod 0440 "$2/password" "$2/url"
}

if [ ! -s /run/writ/owner/password ]; then
  # A database that exists has a password already: another one would not open it.
  if [ -s /var/lib/postgresql/data/PG_VERSION ]; then
    echo 'The database exists, but the volume owner-password is empty. Restore it, or write a new password (hex digits)' >&2
    echo 'to the file "password" in it, start postgres, and give it to the role writ_owner with psql in that container.' >&2
    exit 1
  fi
  make_password /run/writ/owner
fi
# The role writ_app is given what this file holds at every start (grants.sql).
[ -s /run/writ/app/password ] || make_password /run/writ/app

write_url writ_owner /run/writ/owner postgres
write_url writ_app /run/writ/app 1000
