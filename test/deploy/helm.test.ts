import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '@entrepot/server/config'
import { at, listAt, numberAt, textAt } from '../clients/json.ts'
import { isInstalled, run, skipUnlessRequired } from '../clients/programs.ts'
import { readBlocks, stepsOf } from '../guide/guide-text.ts'
import { lint, type Manifests, part, refusalOf, render, type Values } from './helm-chart.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const S3 = { bucket: 'my-registry', region: 'eu-central-1' }
const IMAGE = { repository: 'registry.example.com/entrepot' }
const DATABASE_URL = 'postgres://entrepot:change-me@database/entrepot?sslmode=verify-full'
const SECRET_KEY = 'the-secret-key-of-the-bucket'

/** As little as can be said. */
const LEAST: Values = { image: IMAGE, config: { storage: { s3: S3 } }, secret: { existingName: 'variables' } }

/** Each value that makes a difference, otherwise than in the chart. */
const MOST: Values = {
  image: { ...IMAGE, digest: `sha256:${'a'.repeat(64)}`, pullPolicy: 'Always' },
  imagePullSecrets: [{ name: 'pull' }],
  replicaCount: 5,
  autoscaling: { enabled: false },
  config: {
    storage: { s3: { ...S3, regionendpoint: 'https://store.example.com', accesskey: 'entrepot' } },
    auth: { anonymous: ['pull', 'push'] },
    health: { tcp: [{ addr: 'store.example.com:443' }] },
  },
  secret: { variables: { REGISTRY_DATABASE_URL: DATABASE_URL, REGISTRY_STORAGE_S3_SECRETKEY: SECRET_KEY } },
  service: { type: 'LoadBalancer', port: 80, annotations: { 'example.com/kind': 'internal' } },
  ingress: {
    enabled: true,
    className: 'nginx',
    host: 'registry.example.com',
    tlsSecretName: 'certificate',
    annotations: { 'nginx.ingress.kubernetes.io/proxy-body-size': '0' },
  },
  networkPolicy: {
    clients: [{ namespaceSelector: { matchLabels: { name: 'ingress' } } }],
    monitors: [{ podSelector: { matchLabels: { app: 'prometheus' } } }],
  },
  serviceAccount: { annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/registry' } },
  podAnnotations: { 'example.com/note': 'a note' },
  podLabels: { team: 'platform' },
  nodeSelector: { 'kubernetes.io/arch': 'amd64' },
  tolerations: [{ key: 'dedicated', operator: 'Exists' }],
  affinity: { nodeAffinity: {} },
  priorityClassName: 'important',
  extraVolumes: [{ name: 'authorities', configMap: { name: 'authorities' } }],
  extraVolumeMounts: [{ name: 'authorities', mountPath: '/etc/authorities', readOnly: true }],
  extraEnvironment: [{ name: 'NODE_EXTRA_CA_CERTS', value: '/etc/authorities/ca.pem' }],
}

/** Everything optional left out. */
const BARE: Values = {
  ...LEAST,
  podDisruptionBudget: { enabled: false },
  networkPolicy: { enabled: false },
  serviceAccount: { existingName: 'own' },
}

const POD = ['spec', 'template', 'spec']
const CONTAINER = [...POD, 'containers', 0]
const annotationsWith = async (values: Values) =>
  part(await render(values), 'Deployment', 'spec', 'template', 'metadata', 'annotations')

/** The configuration as the server of the image reads it: out of the ConfigMap, with the variables of the Secret. */
async function loadRendered(manifests: Manifests) {
  const variables = at(manifests.get('Secret'), 'stringData') ?? { REGISTRY_DATABASE_URL: DATABASE_URL }
  const env = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, String(value)]))
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-chart-'))
  try {
    const file = join(folder, 'config.yml')
    await writeFile(file, String(part(manifests, 'ConfigMap', 'data', 'config.yml')))
    return loadConfig({ file, env })
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('the chart of deploy/helm', async (t) => {
  if (!isInstalled('helm')) {
    skipUnlessRequired(t, 'helm is not installed')
    return
  }
  const rendered = new Map<string, Manifests>()
  const of = (name: string) => rendered.get(name) ?? assert.fail(name)

  for (const [name, values] of Object.entries({ LEAST, MOST, BARE })) {
    await lint(values)
    rendered.set(name, await render(values))
  }

  await t.test('makes what was asked for and nothing else', () => {
    const always = ['ConfigMap', 'Deployment', 'Service']
    const guarded = [...always, 'NetworkPolicy', 'PodDisruptionBudget', 'ServiceAccount']
    assert.deepEqual([...of('LEAST').keys()].toSorted(), [...guarded, 'HorizontalPodAutoscaler'].toSorted())
    assert.deepEqual([...of('MOST').keys()].toSorted(), [...guarded, 'Ingress', 'Secret'].toSorted())
    assert.deepEqual([...of('BARE').keys()].toSorted(), [...always, 'HorizontalPodAutoscaler'].toSorted())
  })

  await t.test('every selector meets the pods, and neither more nor less with other labels', () => {
    for (const manifests of rendered.values()) {
      const labels = part(manifests, 'Deployment', 'spec', 'template', 'metadata', 'labels')
      const selectors = [
        part(manifests, 'Deployment', 'spec', 'selector', 'matchLabels'),
        part(manifests, 'Service', 'spec', 'selector'),
        ...listAt(part(manifests, 'Deployment', ...POD), 'topologySpreadConstraints').map((constraint) =>
          at(constraint, 'labelSelector', 'matchLabels'),
        ),
        at(manifests.get('PodDisruptionBudget'), 'spec', 'selector', 'matchLabels'),
        at(manifests.get('NetworkPolicy'), 'spec', 'podSelector', 'matchLabels'),
      ].filter((selector) => selector !== undefined)
      for (const selector of selectors) {
        assert.deepEqual(selector, { 'app.kubernetes.io/name': 'entrepot', 'app.kubernetes.io/instance': 'registry' })
        assert.partialDeepStrictEqual(labels, selector)
      }
    }
    assert.equal(part(of('MOST'), 'Deployment', 'spec', 'template', 'metadata', 'labels', 'team'), 'platform')
  })

  await t.test('pods have no root, no capability, no token, and no place to write but two empty folders', () => {
    for (const manifests of rendered.values()) {
      const pod = part(manifests, 'Deployment', ...POD)
      assert.equal(at(pod, 'automountServiceAccountToken'), false)
      assert.deepEqual(at(pod, 'securityContext'), {
        runAsNonRoot: true,
        runAsUser: 10001,
        runAsGroup: 10001,
        fsGroup: 10001,
        seccompProfile: { type: 'RuntimeDefault' },
      })
      assert.deepEqual(at(pod, 'containers', 0, 'securityContext'), {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      const volumes = listAt(pod, 'volumes')
      const writable = listAt(pod, 'containers', 0, 'volumeMounts').filter((mount) => at(mount, 'readOnly') !== true)
      assert.deepEqual(
        writable.map((mount) => textAt(mount, 'mountPath')),
        ['/data', '/tmp'],
      )
      for (const mount of writable) {
        const volume = volumes.find((candidate) => at(candidate, 'name') === textAt(mount, 'name'))
        assert.ok(at(volume, 'emptyDir', 'sizeLimit') !== undefined)
      }
      assert.ok(at(pod, 'containers', 0, 'resources', 'limits', 'memory') !== undefined)
    }
  })

  await t.test('probes ask what the server answers, and a stop waits for its requests', async () => {
    for (const manifests of rendered.values()) {
      const { config } = await loadRendered(manifests)
      const container = part(manifests, 'Deployment', ...CONTAINER)
      const ports = new Map(listAt(container, 'ports').map((port) => [textAt(port, 'name'), at(port, 'containerPort')]))
      assert.equal(ports.get('registry'), config.http.addr.port)
      assert.equal(ports.get('operators'), config.http.debug.addr?.port)
      for (const [probe, path] of Object.entries({ startup: '/readyz', readiness: '/readyz', liveness: '/healthz' })) {
        assert.deepEqual(at(container, `${probe}Probe`, 'httpGet'), { path, port: 'operators' })
      }
      assert.equal(at(manifests.get('Service'), 'spec', 'ports', 0, 'targetPort'), 'registry')
      const stop = numberAt(part(manifests, 'Deployment', ...POD), 'terminationGracePeriodSeconds')
      const wait = numberAt(container, 'lifecycle', 'preStop', 'sleep', 'seconds')
      assert.ok(stop > wait + config.http.draintimeout / 1000)
    }
  })

  await t.test('the configuration is one that the server accepts, and no secret is in it', async () => {
    const { config, warnings } = await loadRendered(of('MOST'))
    assert.deepEqual(warnings, [])
    assert.equal(config.storage.s3?.bucket, S3.bucket)
    assert.deepEqual(config.auth.anonymous, ['pull', 'push'])
    const variables = part(of('MOST'), 'Secret', 'stringData')
    assert.deepEqual(variables, { REGISTRY_DATABASE_URL: DATABASE_URL, REGISTRY_STORAGE_S3_SECRETKEY: SECRET_KEY })
    for (const [kind, manifest] of of('MOST')) {
      if (kind === 'Secret') continue
      const text = JSON.stringify(manifest)
      assert.ok(!text.includes('change-me') && !text.includes(SECRET_KEY), `a secret is in the ${kind}`)
    }
    for (const [name, secret] of [
      ['MOST', 'registry-entrepot'],
      ['LEAST', 'variables'],
    ] as const) {
      assert.deepEqual(part(of(name), 'Deployment', ...CONTAINER, 'envFrom'), [{ secretRef: { name: secret } }])
    }
  })

  await t.test('a change of the configuration or of a secret starts new pods', async () => {
    const before = await annotationsWith(MOST)
    assert.deepEqual(await annotationsWith(MOST), before)
    const other = { REGISTRY_DATABASE_URL: 'postgres://entrepot:changed@database/entrepot?sslmode=verify-full' }
    for (const [name, values] of [
      ['config', { ...MOST, config: { storage: { s3: S3 }, log: { level: 'debug' } } }],
      ['secret', { ...MOST, secret: { variables: other } }],
    ] as const) {
      const key = `checksum/${name}`
      assert.notEqual(at(await annotationsWith(values), key), at(before, key), name)
    }
  })

  await t.test('autoscaling decides how many instances there are, or replicaCount does', () => {
    assert.equal(at(of('MOST').get('Deployment'), 'spec', 'replicas'), 5)
    assert.equal(at(of('LEAST').get('Deployment'), 'spec', 'replicas'), undefined)
    assert.deepEqual(part(of('LEAST'), 'HorizontalPodAutoscaler', 'spec', 'scaleTargetRef'), {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: textAt(of('LEAST').get('Deployment'), 'metadata', 'name'),
    })
    assert.ok(numberAt(of('LEAST').get('HorizontalPodAutoscaler'), 'spec', 'minReplicas') >= 2)
    assert.equal(part(of('LEAST'), 'PodDisruptionBudget', 'spec', 'maxUnavailable'), 1)
    assert.equal(part(of('LEAST'), 'Deployment', 'spec', 'strategy', 'rollingUpdate', 'maxUnavailable'), 0)
  })

  await t.test('the network policy lets clients reach the registry alone, and nobody where none is named', async () => {
    assert.deepEqual(part(of('MOST'), 'NetworkPolicy', 'spec', 'ingress'), [
      {
        from: [{ namespaceSelector: { matchLabels: { name: 'ingress' } } }],
        ports: [{ protocol: 'TCP', port: 'registry' }],
      },
      {
        from: [{ podSelector: { matchLabels: { app: 'prometheus' } } }],
        ports: [{ protocol: 'TCP', port: 'operators' }],
      },
    ])
    const closed = await render({ ...LEAST, networkPolicy: { clients: [] } })
    assert.deepEqual(part(closed, 'NetworkPolicy', 'spec', 'ingress'), [])
    assert.deepEqual(part(closed, 'NetworkPolicy', 'spec', 'policyTypes'), ['Ingress', 'Egress'])
  })

  await t.test('the ingress leads to the service', () => {
    const rule = part(of('MOST'), 'Ingress', 'spec', 'rules', 0)
    assert.equal(textAt(rule, 'host'), 'registry.example.com')
    const backend = at(rule, 'http', 'paths', 0, 'backend', 'service')
    assert.equal(textAt(backend, 'name'), textAt(of('MOST').get('Service'), 'metadata', 'name'))
    assert.equal(at(backend, 'port', 'name'), at(of('MOST').get('Service'), 'spec', 'ports', 0, 'name'))
    assert.deepEqual(part(of('MOST'), 'Ingress', 'spec', 'tls'), [
      { hosts: ['registry.example.com'], secretName: 'certificate' },
    ])
  })

  for (const [what, values, expected] of [
    ['no image', { ...LEAST, image: {} }, /image\.repository must be set/],
    ['no bucket', { ...LEAST, config: {} }, /config\.storage\.s3\.bucket and .* must be set/],
    ['no database', { ...LEAST, secret: {} }, /REGISTRY_DATABASE_URL must be set/],
    [
      'a password in the ConfigMap',
      { ...LEAST, config: { storage: { s3: S3 }, database: { url: DATABASE_URL } } },
      /config\.database\.url is secret .* move it to secret\.variables\.REGISTRY_DATABASE_URL/,
    ],
    [
      'a secret key in the ConfigMap',
      { ...LEAST, config: { storage: { s3: { ...S3, secretkey: SECRET_KEY } } } },
      /config\.storage\.s3\.secretkey is secret/,
    ],
    ['two kinds of secrets', { ...LEAST, secret: { existingName: 'a', variables: { REGISTRY_A: 'b' } } }, /not both/],
    ['a key that is none', { ...LEAST, replicas: 3 }, /replicas/],
    [
      'another port than that of the probes',
      { ...LEAST, config: { storage: { s3: S3 }, http: { addr: ':80' } } },
      /addr/,
    ],
    ['an ingress without a host', { ...LEAST, ingress: { enabled: true } }, /ingress\.host must be set/],
  ] as const) {
    await t.test(`is refused with ${what}, and says what to do`, async () => {
      assert.match(await refusalOf(values), expected)
    })
  }

  await t.test('is installed with what the guide says', async () => {
    const [step] = stepsOf(await readBlocks('production', 'en'), 'On Kubernetes')
    const install = 'helm upgrade --install entrepot deploy/helm/entrepot'
    const commands = step?.commands
      .replace(install, 'helm template entrepot deploy/helm/entrepot --kube-version 1.31.0')
      .replace('--create-namespace', '')
    const printed = await run('sh', ['-ec', commands ?? 'false'], { cwd: ROOT })
    assert.match(printed, /image: "registry\.example\.com\/library\/entrepot:0\.1\.0"/)
  })
})
