# Writ as a container image. What runs is compiled JavaScript, its migrations and its production packages;
# sources, compiler and package manager stay in the stages before. Plain Dockerfile syntax: any builder takes it.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Nothing in the build needs an install script.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
COPY migrations migrations
COPY docker/writ docker/writ
COPY LICENSE LICENSE
# Modes come from the clone, whose umask may have kept others out; the server reads as another user.
RUN npm run build \
 && find dist -type f ! -name '*.js' ! -name embedded-template.br -delete \
 && chmod -R u=rwX,go=rX dist migrations package.json \
 && chmod 0755 docker/writ

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# bcrypt carries its binaries in the package. What only a compiler or a debugger reads is left behind.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
 && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \) -delete

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="Writ" \
      org.opencontainers.image.description="Self-hosted token issuance for AI agents" \
      org.opencontainers.image.licenses="Apache-2.0"
# A server needs no package manager.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-* \
 && install -d -o node -g node -m 0700 /var/lib/writ
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/package.json package.json
COPY --from=build /app/LICENSE LICENSE
COPY --from=build /app/migrations migrations
COPY --from=build /app/dist dist
COPY --from=build /app/docker/writ /usr/local/bin/writ
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/var/lib/writ
# The only folder that is written to; the rest may be mounted read-only.
VOLUME /var/lib/writ
EXPOSE 3000
USER node
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["writ", "health"]
# `docker run writ migrate` is `writ migrate`; without a command it serves.
ENTRYPOINT ["writ"]
CMD ["serve"]
