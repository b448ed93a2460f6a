# One image for everything: `gatebell serve` is the default, `gatebell migrate up` and the other commands are arguments.

FROM node:22.23.2-bookworm-slim AS build
WORKDIR /app
# Dependencies first: they change less often than the sources, so this layer is mostly cached.
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:22.23.2-bookworm-slim
ENV NODE_ENV=production \
    GATEBELL_HOST=0.0.0.0
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The build stage's node_modules would bring the compiler and an embedded Postgres along.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force
COPY migrations ./migrations
COPY --from=build /app/dist ./dist
# For GATEBELL_LISTEN=unix:/run/gatebell/auth.sock: a new volume that is mounted here takes over whose it is.
RUN install --directory --owner=node --group=node /run/gatebell
# The files stay root's: the process cannot change its own program.
USER node
# Auth endpoints, and operations (/livez, /readyz, /metrics): the second port is not for the internet.
EXPOSE 4280 4281
# Ready is: listening, and a fence has come back. The image has no curl.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", \
    "fetch('http://127.0.0.1:' + (process.env.GATEBELL_OPS_PORT || 4281) + '/readyz').then(r => process.exit(+!r.ok))"]
ENTRYPOINT ["node", "dist/cli.js"]
CMD ["serve"]
